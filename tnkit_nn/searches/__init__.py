"""The networks of each family near a budget: ``mpo_near((784, 512), 400)`` is a TT-matrix of about 400 parameters."""
