"""Orders of contraction: searched for, improved, cut from above."""
