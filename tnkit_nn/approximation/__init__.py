"""A network near trained weights."""
