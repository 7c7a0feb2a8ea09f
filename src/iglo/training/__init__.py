"""The training loop, its parts, and the stages of training."""
