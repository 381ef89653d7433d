"""A trained model made small: recipe, layers, both stages, the result."""
