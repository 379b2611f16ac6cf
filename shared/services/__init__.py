"""The rules, one noun a file: they flush and never commit, and know neither HTTP nor queue nor model."""
