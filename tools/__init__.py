"""Scripts for those who work on iglo, run as `python -m tools.NAME` in the root of the repository."""
