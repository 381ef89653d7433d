"""Networks held as arrays, changed where they are touched: nodes merged and split, gates, indices reshaped, bonds grown, canonical forms."""
