"""Optional packages: one that is missing is named in one line, with the command that installs it."""

from __future__ import annotations

__all__ = ["EXTRAS", "MissingExtra", "need"]

#: Module -> (its name for pip, the extra of tnkit that brings it).
EXTRAS: dict[str, tuple[str, str]] = {
    "torch": ("torch", "nn"),
    "safetensors": ("safetensors", "nn"),
    "tomli_w": ("tomli-w", "nn"),
    "tqdm": ("tqdm", "nn"),
    "filelock": ("filelock", "nn"),
    "sklearn": ("scikit-learn", "nn"),
    "matplotlib": ("matplotlib", "plot"),
    "scipy": ("scipy", "compare"),
    "jinja2": ("jinja2", "compare"),
    "pandas": ("pandas", "frame"),
    "pyarrow": ("pyarrow", "frame"),
    "shtab": ("shtab", "cli"),
}


class MissingExtra(ImportError):
    """A package of an extra is not installed; the message is one line that says how to get it."""


def need(who: str, *modules: str, extra: str | None = None) -> None:
    """Check that optional packages are installed, before they are imported.

    ::

        need("tnkit.draw", "matplotlib")
        import matplotlib.figure

    Parameters
    ----------
    who
        What needs them: the first words of the message.
    *modules
        Keys of :data:`EXTRAS`, or modules in them.
    extra
        The extra that has all that ``who`` needs; each package's own, if not given.

    Raises
    ------
    MissingExtra
        The first one that cannot be imported: ``tnkit.draw needs matplotlib: pip install 'tnkit[plot]'``.  What a package that
        is there misses itself follows in brackets.
    """
    for module in modules:
        root = module.partition(".")[0]
        package, its = EXTRAS[root]
        try:
            __import__(module)  # the statement's own way in: whatever stops the import stops it here
        except ImportError as error:
            message = f"{who} needs {package}: pip install 'tnkit[{extra or its}]'"
            if isinstance(error, ModuleNotFoundError) and (error.name or root).partition(".")[0] == root:
                raise MissingExtra(message, name=module) from None
            raise MissingExtra(f"{message} ({' '.join(str(error).split())})", name=module) from error
