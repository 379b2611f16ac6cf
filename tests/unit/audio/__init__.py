"""Tests of `shared.audio`."""
