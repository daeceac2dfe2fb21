"""Health pages, Prometheus metrics, durations of the stages."""
