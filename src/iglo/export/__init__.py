"""Exported models: writing, reading and use."""
