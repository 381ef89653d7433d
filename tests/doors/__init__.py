"""Every public function is called with every argument wrong in every way: it refuses, by name, or a table says why it takes.

``python -m tests.doors tk.norm`` drives one function, ``python -m tests.doors tk.init`` a module, ``python -m tests.doors`` all.
"""
