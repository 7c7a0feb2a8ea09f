"""The device and its precision, the ranks of one training, and the settings of the process."""
