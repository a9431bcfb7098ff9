"""Sphinx: Markdown pages by myst-parser, the furo theme. Build: ``sphinx-build -W -b html docs docs/_build``."""

from __future__ import annotations

import ast
from pathlib import Path


def _version() -> str:
    """The version, read without importing the package."""
    tree = ast.parse((Path(__file__).parent.parent / "nasforge" / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__":
            return str(ast.literal_eval(node.value))
    raise RuntimeError("nasforge/__init__.py holds no __version__")


project = "nasforge"
release = version = _version()
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"nasforge {release}"
html_copy_source = False
nitpicky = True
