"""Networks held as arrays: inner products, sums, canonical forms, projections, environments."""
