"""Files of others, read with care: arrays, images, YAML; files that only their owner may write."""
