"""Images: where they come from, how they are read, stored and augmented."""
