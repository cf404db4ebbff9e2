"""What a checkpoint keeps of a server: attributes that are there, all of every record's, and the same once read."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from archsim.serving.policies import POLICIES
from archsim.serving.prefix import Unit
from archsim.serving.record import PhaseUse, Window
from archsim.serving.requests import ArrivalStream, Limits
from archsim.serving.server import Server
from archsim.serving.state import restore, saved
from archsim.serving.techniques import DraftRule, PrefixRule, Techniques, TierRule
from archsim.serving.tier import TierUse

sys.path.append(str(Path(__file__).parents[1]))
import replay_toy as toy

RULES = Techniques(
    prefix=PrefixRule("lru", 4, "lru"),
    tier=TierRule(100, 10**9, 10**9, 7, 8, swaps=True),
    drafts=DraftRule((Fraction(1, 2),), 2),
    classes=(30, 70),
    watched=True,
)


@pytest.mark.parametrize("record", [PhaseUse, Window, Unit, TierUse])
def test_every_field_of_a_record_is_kept(record: Any) -> None:
    """And nothing else."""
    assert sorted(record.KEPT) == sorted(field.name for field in fields(record))


@pytest.mark.parametrize("tallied", [False, True])
@pytest.mark.parametrize("rules", [RULES, Techniques()])
def test_a_server_has_all_that_is_kept_of_it_and_takes_it_back(rules: Techniques, tallied: bool) -> None:
    """Every part of it by name, through JSON and into a server that was made alike."""
    limits = Limits(4, 100, 40, 4, 200, techniques=rules, tallied=tallied)
    costs = toy.ToyCosts(lambda _batch, _kv: 1000, lambda _tokens, _pairs: 1000, spacing_bits=4)

    def made() -> Server:
        return Server(ArrivalStream([]), costs, limits=limits, policy=POLICIES["prefill_first"], done=lambda *_: None)

    state = json.loads(json.dumps(saved(made())))
    assert set(state) == set(Server.KEPT)
    again = made()
    restore(again, state)
    assert json.loads(json.dumps(saved(again))) == state
