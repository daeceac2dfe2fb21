"""A stand-in for the upstream detector: a classical spot detector and a scene simulator."""
