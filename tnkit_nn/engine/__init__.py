"""torch as an array library: the same plans, run and differentiated by torch."""
