"""nasforge: neural architecture search over declarative spaces, with shared weights."""

from nasforge.hookspecs import hookimpl

__all__ = ["hookimpl"]
__version__ = "0.1.0"
