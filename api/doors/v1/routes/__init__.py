"""Routes, one noun a file; a docstring is its OpenAPI text."""
