"""Networks held as arrays beside others: inner products, sums, operators and their application, projections, environments, samples."""
