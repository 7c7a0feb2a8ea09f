"""Priors of codes, and the search for the code of an image."""
