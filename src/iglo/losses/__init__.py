"""Distances between images, and the terms of the objective."""
