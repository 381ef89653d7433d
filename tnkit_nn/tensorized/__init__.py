"""Weights of any model turned into networks in place: which, at which budget, and what came of it."""
