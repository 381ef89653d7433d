"""One training loop, what it reads and what it writes as it goes."""
