"""Sound: what a file is, how long it lasts, and its way into other formats."""
