"""Finds files, reads and writes them, and escapes text for them."""
