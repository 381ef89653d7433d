"""A network near a trained weight."""
