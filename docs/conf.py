"""How Sphinx builds these pages: Markdown by MyST, the theme furo, references from the code; a warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

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
