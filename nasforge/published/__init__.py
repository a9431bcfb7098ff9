"""Architectures in the forms in which others publish them, read into a space and written back."""

from nasforge.published.encodings import read, write

__all__ = ["read", "write"]
