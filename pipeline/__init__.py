"""The streaming node: messages, join, crop, batch, publish, replay, health."""
