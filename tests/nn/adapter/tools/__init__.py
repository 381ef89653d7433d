"""The table of the tools: kinds of module, what is done with them, and what is known to be refused."""
