"""Measures models: metrics, feature networks, and the check for copies of training images."""
