"""The command `iglo`."""
