"""How every figure of archsim looks: sizes, fonts, colours, and bytes that depend on the content alone.

Colours follow Okabe and Ito's colour-blind safe palette, one hue for each group of accounts and one shade for each
account. Figures are made without pyplot, so nothing global is touched; SVG carries no date and no random id.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archsim.errors import InputError, Problem
from archsim.metrics.accounts import GROUPS

__all__ = [
    "ACCOUNT_COLOURS",
    "GROUP_LABELS",
    "LINE_COLOURS",
    "LINE_STYLES",
    "ONE_COLUMN_IN",
    "PHASE_COLOURS",
    "SMALL_PT",
    "SUFFIXES",
    "TWO_COLUMNS_IN",
    "figure_bytes",
    "is_narrow",
    "png_bytes",
    "quiet_axes",
    "styled",
    "svg_bytes",
    "text_colour",
    "wrapped",
]

ONE_COLUMN_IN = 3.35
"""85 mm: one column of a two-column page."""
TWO_COLUMNS_IN = 7.0
"""178 mm: the full width of such a page."""
SMALL_PT = 6.5
SUFFIXES = (".pdf", ".svg", ".png")
"""Formats that a figure can be written in."""

_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: what is installed never changes what is written
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "axes.linewidth": 0.6,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "svg.hashsalt": "archsim",
    "svg.fonttype": "path",
    "figure.dpi": 100.0,
}

GROUP_LABELS = {
    "useful": "useful to the model",
    "moved": "moved, not needed",
    "device": "DRAM constraints",
    "supply": "too little in flight",
    "waiting": "waiting for other parts",
    "idle": "idle",
}

_SHADES = {
    "useful": ("#0b4a7f", "#2f7fc1", "#6fabdc", "#a9cdec", "#2f7fc1"),
    "moved": ("#009e73", "#7fcfb5"),
    "device": ("#9c3c00", "#d55e00", "#e5803a", "#efa572", "#f6c6a4", "#fbe1cf"),
    "supply": ("#a89200", "#dcc525", "#f2e784"),
    "waiting": ("#4c2244", "#8a4177", "#b9659f", "#d494bf", "#e6bbd7", "#f3dcea"),
    "idle": ("#dddddd", "#b5b5b5"),
}

ACCOUNT_COLOURS: dict[str, str] = {
    account: shade
    for group, accounts in GROUPS.items()
    for account, shade in zip(accounts, _SHADES[group], strict=True)
}
"""Account -> its shade of its group's hue."""

PHASE_COLOURS = {"decode": "#2f7fc1", "mixed": "#cc79a7", "prefill": "#e69f00", "moving": "#009e73", "none": "#bbbbbb"}

LINE_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
LINE_STYLES = ("-", "--", "-.", ":")


@contextmanager
def styled() -> Iterator[None]:
    """Hold the style of archsim while a figure is made or saved, and give the old one back."""
    with mpl.rc_context(rc=_RC):
        yield


def quiet_axes(axes: Axes) -> None:
    """Leave *axes* only the two lines that carry numbers."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=2.5)


def text_colour(background: str) -> str:
    """Return black or white, whichever reads better on *background* (`#rrggbb`; ITU-R BT.601 luma)."""
    red, green, blue = (int(background[index : index + 2], 16) for index in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#ffffff"


def svg_bytes(figure: Figure) -> bytes:
    """Return *figure* as SVG whose bytes depend on its content alone."""
    content = io.BytesIO()
    with styled():
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": "archsim"})
    return content.getvalue()


def figure_bytes(figure: Figure, suffix: str, *, key: str = "--out") -> bytes:
    """Return *figure* in the format of *suffix*, one of `SUFFIXES`; bytes depend on its content alone.

    Raises `InputError`, which names *key*, for another suffix.
    """
    if suffix not in SUFFIXES:
        raise InputError(Problem("", key, suffix, f"a file name that ends in {', '.join(SUFFIXES)}"))
    return {".pdf": _pdf_bytes, ".svg": svg_bytes, ".png": png_bytes}[suffix](figure)


def is_narrow(width_in: float) -> bool:
    """Return whether a figure of that width stands in one column."""
    return width_in < TWO_COLUMNS_IN / 2


def wrapped(title: str, width_in: float) -> str:
    """Return *title* in lines that fit a figure of that width, in bold of 8.5 points."""
    return textwrap.fill(title, int(13.2 * width_in))


def _pdf_bytes(figure: Figure) -> bytes:
    content = io.BytesIO()
    with styled():
        figure.savefig(content, format="pdf", metadata={"CreationDate": None, "Creator": "archsim"})
    return content.getvalue()


def png_bytes(figure: Figure, *, dots_per_inch: int = 200) -> bytes:
    """Return *figure* as PNG."""
    content = io.BytesIO()
    with styled():
        figure.savefig(content, format="png", dpi=dots_per_inch, metadata={"Software": "archsim"})
    return content.getvalue()
