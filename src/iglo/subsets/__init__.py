"""Features of images, and the subsets that cover the data."""
