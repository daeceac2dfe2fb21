"""PyTorch definitions of the networks; needed for training and export only (extra `train`)."""
