"""The device, its threads and the ranks that share a training."""
