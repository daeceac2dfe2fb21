"""Methods to compare with: the paper's figures, ISTA, the oracle, blind fits."""
