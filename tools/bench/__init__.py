"""Speed of the engine, the whole node, the recorder, CURVE and the GPU."""
