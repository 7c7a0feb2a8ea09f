"""Measures learning of images that arrive later: what is forgotten, what is learned, and what it costs."""
