"""What fills the blocks of README.md and docs/: a module a page or two; ``docs/render.py`` knows all blocks."""
