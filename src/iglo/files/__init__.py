"""Reading and writing files whole, and text for them."""
