"""The thin adapter: a network as a module, as a weight, as a layer."""
