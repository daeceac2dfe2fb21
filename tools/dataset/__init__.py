"""CSIST-100K's layout on disk: read, find coordinates, write, contact sheet."""
