"""What both processes stand on; imports neither."""
