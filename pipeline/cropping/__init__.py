"""From a frame and its candidates to calibrated crops: plan, cut, background, duplicates."""
