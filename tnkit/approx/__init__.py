"""Networks that are too large to be contracted exactly: boundaries of lattices, compressed bonds, belief propagation."""
