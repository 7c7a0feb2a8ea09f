"""The benchmark of methods."""
