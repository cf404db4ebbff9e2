"""Two figures of change: a tornado of knobs, and a ledger before and after."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from archsim.metrics.accounts import ACCOUNTS, GROUPS
from archsim.report import style
from archsim.report.views import account_label

__all__ = ["ledger_before_after", "tornado"]

_MOST_KNOBS = 18
_LEAST_SHOWN = 0.0005
_UP, _DOWN = style.LINE_COLOURS[0], style.LINE_COLOURS[1]
_NARROWEST_NAMED = 0.055


Turned = tuple[float | None, float | None, float | None]
"""What a knob does to a metric: its change when the knob is larger, when it is smaller, and the elasticity."""


def tornado(
    effects: Sequence[tuple[str, Sequence[Turned]]], *, title: str, metrics: Sequence[str], step: str
) -> Figure:
    """Return one pair of bars a knob in a panel for each of *metrics*, in the order of *effects*."""
    shown = [effect for effect in effects if max(map(_most, effect[1])) >= _LEAST_SHOWN]
    shown = shown[:_MOST_KNOBS] or list(effects[:1])
    left = len(effects) - len(shown)
    with style.styled():
        figure = Figure(figsize=(style.TWO_COLUMNS_IN, 1.35 + 0.23 * len(shown)), layout="constrained")
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        for place, (axes, metric) in enumerate(zip(panels, metrics, strict=True)):
            _bars(axes, [turned[place] for _, turned in shown], metric)
        panels[0].set_yticks(range(len(shown)), [name for name, _ in shown])
        panels[0].set_ylim(len(shown) - 0.4, -0.6)
        figure.suptitle(title, x=0.01, ha="left", fontsize=8.5, fontweight="bold")
        patches = [Patch(facecolor=_UP, label=f"knob x {step}"),
                   Patch(facecolor=_DOWN, hatch="////", edgecolor="white", label=f"knob / {step}")]  # fmt: skip
        if left:
            patches.append(Patch(facecolor="none", label=f"{left} further knobs: less than 0.05 %"))
        figure.legend(handles=patches, loc="outside lower center", ncols=3)
    return figure


def _most(turned: Turned) -> float:
    return max(abs(turned[0] or 0.0), abs(turned[1] or 0.0))


def _bars(axes: Axes, turned: Sequence[Turned], metric: str) -> None:
    """Draw what each knob does to one *metric*."""
    for row, (up, down, elasticity) in enumerate(turned):
        axes.barh(row, 100 * (up or 0.0), height=0.62, color=_UP)
        axes.barh(row, 100 * (down or 0.0), height=0.62, color=_DOWN, hatch="////", edgecolor="white", linewidth=0)
        text = "-" if elasticity is None else f"{elasticity:+.2f}"
        axes.text(1.02, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=6.5)
    axes.text(1.02, -0.85, "elasticity", transform=axes.get_yaxis_transform(), va="bottom", fontsize=6.5)
    reach = max(map(_most, turned), default=0.0) or 0.01
    axes.set_xlim(-115 * reach, 115 * reach)
    axes.axvline(0, color="#444444", linewidth=0.6)
    axes.set_xlabel(f"change of {metric} (%)")
    style.quiet_axes(axes)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def ledger_before_after(
    scopes: Sequence[tuple[str, Mapping[str, float], Mapping[str, float]]], *, title: str, per: str
) -> Figure:
    """Return two stacked bars a scope, (name, accounts before, accounts after), in seconds *per* token or iteration."""
    with style.styled():
        figure = Figure(figsize=(style.TWO_COLUMNS_IN, 1.15 + 0.78 * len(scopes)), layout="constrained")
        axes = figure.subplots()
        longest = max(math.fsum(side.values()) for _, before, after in scopes for side in (before, after)) or 1.0
        scale, unit = (1e3, "ms") if longest > 1e-3 else (1e6, "us")
        ticks: list[tuple[float, str]] = []
        for place, (name, *sides) in enumerate(scopes):
            for offset, word, accounts in zip((0.0, 0.42), ("before", "after"), sides, strict=True):
                row = place * 1.15 + offset
                ticks.append((row, f"{name} {word}" if word == "before" else word))
                start = 0.0
                for account in ACCOUNTS:
                    width = accounts.get(account, 0.0)
                    axes.barh(row, width * scale, left=start * scale, height=0.38, linewidth=0.4, edgecolor="white",
                              color=style.ACCOUNT_COLOURS[account])  # fmt: skip
                    if width > _NARROWEST_NAMED * longest:
                        axes.text((start + width / 2) * scale, row, account_label(account), ha="center", va="center",
                                  fontsize=5.5, color=style.text_colour(style.ACCOUNT_COLOURS[account]),
                                  clip_on=True)  # fmt: skip
                    start += width
                axes.text(start * scale, row, f" {start * scale:.4g} {unit}", va="center", fontsize=6.5)
        axes.set_yticks([row for row, _ in ticks], [text for _, text in ticks])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.12 * longest * scale)
        axes.set_xlabel(f"time of peak by account ({unit} per {per})")
        axes.set_title(title, loc="left", fontsize=8.5, fontweight="bold")
        patches = [Patch(color=style.ACCOUNT_COLOURS[accounts[min(1, len(accounts) - 1)]],
                         label=style.GROUP_LABELS[group]) for group, accounts in GROUPS.items()]  # fmt: skip
        figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), handlelength=1.0,
                      columnspacing=1.0)  # fmt: skip
        style.quiet_axes(axes)
    return figure
