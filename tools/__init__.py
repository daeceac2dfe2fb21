"""What people run beside the node: demo, training, evaluation, benchmarks."""
