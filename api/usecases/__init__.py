"""What Parley does, one verb a file; knows nothing of HTTP."""
