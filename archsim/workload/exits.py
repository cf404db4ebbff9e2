"""Early exit by difficulty: a model whose easy tokens leave before the last layer, as a transform of a model.

Written behind a model's name: `llama-3.1-70b+exit=40:30,60:20`, after layer 40 (counted from 1) 30 % of the decoded
tokens leave, after layer 60 another 20 %, and half go through all 80. The law is the user's: archsim knows neither the
classifier that decides nor what the answers are worth (Schuster et al. 2022, arXiv 2207.07061; Elhoushi et al. 2024,
arXiv 2404.16710, give measured ones).

W14: in every iteration the batch's tokens leave in exactly these shares, rounded to whole tokens, and a layer that none
reaches is not run. The decision is free, the output head runs once a token wherever it leaves, prompts pass all layers.
A token leaves no keys and values in layers that it skips, but their room is kept; those that go on attend to contexts
in full.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from archsim.errors import InputError, Problem

if TYPE_CHECKING:
    from archsim.workload.model import Model

__all__ = ["ALL_TOKENS", "check_exits", "reached", "split_name"]

ALL_TOKENS = 100
"""Shares are whole per cent."""
_MARK = "+exit="
_EXIT = re.compile(r"([1-9]\d{0,4}):([1-9]\d?)")
_FORM = "LAYER:PERCENT,... such as 40:30,60:20"

Exits = tuple[tuple[int, int], ...]
"""(layer after which tokens leave, per cent of all tokens that do)."""


def split_name(text: str) -> tuple[str, Exits]:
    """Return the model's name and its exits. Raises `InputError` for exits of another form."""
    name, mark, law = text.partition(_MARK)
    if not mark:
        return text, ()
    found = [_EXIT.fullmatch(word) for word in law.split(",")]
    exits = tuple((int(match[1]), int(match[2])) for match in found if match)
    if len(exits) < len(found):
        raise InputError(Problem("", "model", text, f"exits as {_FORM}"))
    return name, exits


def check_exits(model: Model) -> None:
    """Raise `InputError` unless exits rise below the last layer and leave tokens for it."""
    layers = [layer for layer, _ in model.exits]
    if layers != sorted(set(layers)) or (layers and layers[-1] >= model.layers):
        expected = f"rising layers before the last of {model.layers}, as {_FORM}"
        raise InputError(Problem("", "model", model.name, expected))
    if sum(share for _, share in model.exits) >= ALL_TOKENS:
        raise InputError(Problem("", "model", model.name, "less than 100 % of the tokens leaving early"))


def reached(exits: Exits, layer: int) -> int:
    """Return the per cent of tokens that run *layer*, counted from 0."""
    return ALL_TOKENS - sum(share for after, share in exits if after <= layer)
