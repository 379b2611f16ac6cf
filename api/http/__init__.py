"""What every HTTP answer and request has in common, whatever the door."""
