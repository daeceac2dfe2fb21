"""Crops or answers of a recording as pictures, without truth."""
