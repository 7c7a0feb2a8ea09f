"""Pretrained networks, the files of their weights, and what a run needs of this machine."""
