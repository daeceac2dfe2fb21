"""What any program of the chain needs of its process: logs, signals, descriptors."""
