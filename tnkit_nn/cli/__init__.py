"""The commands of ``tnkit`` that need torch: a module each, loaded by :mod:`tnkit.cli` when it is asked for."""
