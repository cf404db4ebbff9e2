"""How Sphinx builds these pages: Markdown by MyST, the theme furo, references from the code; a warning is an error."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

project = "archsim"
author = "the archsim developers"
copyright = "the archsim developers, Apache-2.0"  # noqa: A001 - Sphinx's name
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
exclude_patterns = ["examples", "_build", "site"]
html_theme = "furo"
html_title = "archsim"
html_show_sphinx = False
html_static_path: list[str] = []
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "undoc-members": False}
add_module_names = False
default_role = "code"
nitpicky = False


def _add_the_rest(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Put pages that no table of contents of the index names into one at its end."""
    if docname == "index":
        trees = re.findall(r"```\{toctree\}\n(.*?)```", source[0], flags=re.DOTALL)
        named = {line for tree in trees for line in tree.splitlines()}
        rest = sorted(page.stem for page in Path(__file__).parent.glob("*.md") if page.stem not in {*named, "index"})
        if rest:
            source[0] += "\n".join(["", "```{toctree}", ":hidden:", ":caption: More", *rest, "```", ""])


def setup(app: Sphinx) -> None:
    """Let the index name every page."""
    app.connect("source-read", _add_the_rest)
