"""Decompositions: (array, what shape of network) -> (Network, arrays), the Network that the builder returns."""
