"""A comparison written out: tables, plots, one page."""
