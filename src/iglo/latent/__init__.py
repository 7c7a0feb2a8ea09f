"""Codes of new images: priors draw them, and inversion finds them for given images."""
