"""Other people's ways to do the same, measured beside ours in one run."""
