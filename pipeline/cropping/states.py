"""What is wrong with a pixel of a crop, as bits; 0 is usable."""

PADDED, SATURATED, BAD = 1, 2, 4
