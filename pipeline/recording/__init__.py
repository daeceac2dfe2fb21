"""Recordings: the messages of a chain, exactly as they came, in MCAP files."""
