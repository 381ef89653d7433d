"""Networks from and to other forms: equations, graphs, other libraries, files."""
