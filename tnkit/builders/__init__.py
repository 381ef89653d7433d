"""Builders: functions of shapes and ranks that return a Network.

One line above a function, ``@builder(...)`` (:mod:`tnkit.builders.registry`), makes it ``tnkit.NAME``; a new file of builders is
one line in ``tnkit/__init__.py``.
"""
