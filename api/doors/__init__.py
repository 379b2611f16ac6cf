"""The doors: each maps one API onto the use cases."""
