"""Trains plain GLO with one change at a time, and measures images at the codes and off them."""
