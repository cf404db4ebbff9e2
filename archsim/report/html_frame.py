"""What every report stands in: its style, its script, the policy that allows that script alone, and the templates."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from archsim.files import read_text
from archsim.report.views import percent
from archsim.result import ARCHSIM_VERSION

__all__ = ["MOST_BYTES", "filled"]

MOST_BYTES = 3 * 10**6
"""A report is smaller: it can be mailed."""
_HERE = Path(__file__).parent
_SHARED = "report.macros.j2"


def filled(template: str, **values: Any) -> str:
    """Return *template*, a file of this package, filled with *values*; every string in them is escaped."""
    script = read_text(_HERE / "report.js")
    loader = DictLoader({name: read_text(_HERE / name) for name in (template, _SHARED)})
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader
    )
    environment.filters["percent"] = percent
    return environment.get_template(template).render(
        style=Markup(read_text(_HERE / "report.css")),  # noqa: S704  # a file of this package
        script=Markup(script),  # noqa: S704  # a file of this package
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        version=ARCHSIM_VERSION,
        **values,
    )
