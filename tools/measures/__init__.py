"""Measures of the field: CSO-mAP, one-to-one matching, the cost of a network."""
