"""The books of one piece of work, worked out by hand: every account's amount, and that they fill the peak."""

from __future__ import annotations

import math
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path
from re import findall
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from archsim.dram.facts import CAUSES, ChannelFacts
from archsim.errors import SimulationError
from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.metrics.accounts import ACCOUNTS, GROUPS, USEFUL, group_of
from archsim.metrics.columns import LedgerColumns, RequestColumns, polars_frame
from archsim.metrics.ledger import CLASS_ACCOUNT
from archsim.metrics.mixing import useful_share
from archsim.report.style import GROUP_LABELS
from archsim.step.assemble import _check_rounding, link_scopes
from archsim.step.books import (
    account_of,
    beside_books,
    closed_books,
    engine_books,
    level_books,
    link_books,
    near_books,
)
from archsim.step.channels import channel_amounts, channel_books
from archsim.step.record import ChannelUse, Scope
from archsim.step.stages import PIPELINES
from archsim.step.work import Service

PAGE = Path(__file__).parents[2] / "docs" / "ledger.md"
FACTS = ChannelFacts(80, tuple(20 if cause == "row" else 0 for cause in CAUSES), 1000)
"""Of 100 parts 80 are transfer and 20 wait for rows."""


def service(useful: int, moved: int, busiest: int, held_ps: int, tensor: str = "weights") -> Service:
    """Return a transfer over four channels in granules of 64 bytes."""
    return Service("hbm", tensor, useful, moved, busiest, (("phy", held_ps),), 1, FACTS, 64)


def level(bytes_per_s: int = 10**12, share: int = 1) -> Any:
    """Return a level of four channels of *bytes_per_s* together."""
    channel = Fraction(bytes_per_s, 4)
    return SimpleNamespace(
        channels=4, channel_peak_bytes_per_s=channel, peak_bytes_per_s=Fraction(bytes_per_s), name="array",
        pipes=(("phy", Fraction(1)), ("array", Fraction(share))),
    )  # fmt: skip


def test_a_level_books_what_moved_what_waited_and_what_was_rounded() -> None:
    """960 of 1,000 bytes useful, 256 on the busiest of four channels; 1,300 ps at a byte a picosecond."""
    books = level_books(service(960, 1000, 256, 1300), level())
    assert books == {
        "useful_weights": 960.0,
        "overfetch": 40.0,
        "row": 1000 * 20 / 80,
        "imbalance": (4 * 256 - 1000) * 1.25,
        "rounding": 1300 - 4 * 256 * 1.25,
    }
    assert math.fsum(books.values()) == 1300


def test_what_passes_through_a_memory_is_moved_and_zeros_are_left_out() -> None:
    """A buffer of a collective is no model's; a transfer that fills all channels has no imbalance."""
    assert account_of("moved") == "moved"
    assert account_of("kv_read") == "useful_kv_read"
    assert level_books(service(1024, 1024, 256, 1280, "moved"), level()) == {"moved": 1024.0, "row": 256.0}


def test_a_scope_held_beside_waits_for_the_interface_with_what_it_could_do_beyond() -> None:
    """The arrays do three bytes while the interface does one: two of three bytes' time are `memory`."""
    interface = level(10**12, share=1)
    arrays = SimpleNamespace(name="array", peak_bytes_per_s=Fraction(3 * 10**12))
    books = beside_books(service(960, 1000, 256, 1300), interface, arrays, 1300)
    assert books == {
        "useful_weights": 960.0,
        "overfetch": 40.0,
        "row": 3 * 250.0,
        "imbalance": 3 * 30.0,
        "memory": 2 * 1000.0,
        "rounding": 3 * 1300 - 3 * 4 * 256 * 1.25,
    }
    assert math.fsum(books.values()) == 3 * 1300


def test_units_near_memory_book_their_arithmetic_and_what_a_slower_type_costs() -> None:
    """At half the peak's rate 900 FLOPs hold the units for 1,800's time: 100 of them were padding, 200 ps rounding."""
    units: Any = SimpleNamespace(memory="hbm", peak_flop_per_s=10**12, flop_per_s=lambda _dtype: 5 * 10**11)
    near = SimpleNamespace(memory="hbm", flops=900, useful_flops=800)
    work: Any = SimpleNamespace(near=near, matrix_dtype="bf16", near_ps=2000)
    books = near_books(work, units)
    assert books == {"useful": 800.0, "overfetch": 100.0, "compute": 900.0, "rounding": 200.0}
    assert math.fsum(books.values()) == 2000
    near.memory = "other"
    assert near_books(work, units) == {}
    near.memory, near.flops = "hbm", 0
    assert near_books(work, units) == {}
    work.near = None
    assert near_books(work, units) == {}


def test_engines_book_padding_slower_types_power_and_rounding() -> None:
    """A type at half the scope's peak, sustained at a quarter of it: a FLOP takes a place of four."""
    rates = SimpleNamespace(
        matrix_rate=lambda _dtype: 5 * 10**11, sustained_matrix_rate=lambda _dtype: Fraction(10**12, 4),
        vector_rate=10**11,
    )  # fmt: skip
    work = SimpleNamespace(
        matrix_ps=4100, matrix_dtype="bf16", useful_matrix_flops=900, padded_matrix_flops=1000, vector_ps=500,
        vector_flops=45,
    )  # fmt: skip
    system: Any = rates
    books = engine_books(work, system, matrix_peak=10**12)  # type: ignore[arg-type]
    assert books["matrix"] == {
        "useful": 900.0, "overfetch": 100.0, "compute": 1000.0, "power": 2000.0, "rounding": 100.0,
    }  # fmt: skip
    assert math.fsum(books["matrix"].values()) == 4100
    assert books["vector"] == {"useful": 45.0, "rounding": 5.0}
    work.matrix_ps = work.vector_ps = 0
    assert engine_books(work, system, matrix_peak=10**12) == {}  # type: ignore[arg-type]


def test_links_book_bytes_latency_and_the_rest_of_a_collective_as_often_as_it_runs() -> None:
    """1,000 ps, 300 of them latency, at a byte a picosecond: 400 carried, 300 waited, 300 for other links."""
    facts: Any = SimpleNamespace(link_bytes=(0, 400), duration_ps=1000, latency_ps=300)
    full: Any = SimpleNamespace(link_bytes=(0, 900), duration_ps=1000, latency_ps=300)
    assert link_books([(facts, 2)], 1, 10**12) == {"useful": 800.0, "latency": 600.0, "network": 600.0}
    assert link_books([(full, 1)], 1, 10**12) == {"useful": 900.0, "latency": 100.0}
    assert link_books([(facts, 1), (full, 3)], 0, 10**12) == {"latency": 1200.0, "network": 2800.0}


def test_the_first_channels_hold_the_rest_and_the_others_wait_for_them() -> None:
    """600 bytes in granules of 64 over four: 512 fill two rows, 64 and 24 lie on the first two."""
    moved = np.array([192, 152, 128, 128])
    books = channel_books(service(300, 600, 192, 1000), level())
    assert books["useful_weights"].tolist() == (moved / 2).tolist()
    assert books["overfetch"].tolist() == (moved / 2).tolist()
    assert books["row"].tolist() == (moved / 4).tolist()
    assert books["imbalance"].tolist() == ((192 - moved) * 1.25).tolist()
    assert books["rounding"].tolist() == [250 - 192 * 1.25] * 4
    assert sum(books.values()).tolist() == [250.0] * 4  # type: ignore[union-attr]


def test_channels_sum_to_the_book_and_gaps_are_gaps_of_all() -> None:
    """Two uses on three chips, and 1,200 bytes' time of `network` that is shared by the channels alike."""
    use = ChannelUse("chip0-2.hbm", service(300, 600, 192, 1000), 2)
    book = Counter({account: 6 * amount for account, amount in level_books(use.service, level()).items()})
    book["network"] = 1200.0  # type: ignore[assignment]
    amounts = channel_amounts(dict(book), [use], level(), chips=3)
    for place, account in enumerate(ACCOUNTS):
        assert amounts[:, place].sum() == pytest.approx(book.get(account, 0.0), abs=1e-9)
    assert amounts[:, ACCOUNTS.index("network")].tolist() == [300.0] * 4
    assert amounts[:, ACCOUNTS.index("useful_weights")].tolist() == [6 * 96, 6 * 76, 6 * 64, 6 * 64]
    assert amounts.sum(axis=1).tolist() == pytest.approx([6 * 250.0 + 300.0] * 4)


def test_accounts_are_those_of_the_page_and_each_is_in_one_group() -> None:
    """docs/ledger.md names every account in its tables, and nothing else; `useful` comes first."""
    page = PAGE.read_text(encoding="utf-8").split("## Accounts")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert {name for cell in cells for name in findall(r"`(\w+)`", cell)} == set(ACCOUNTS)
    assert len(set(ACCOUNTS)) == len(ACCOUNTS) == sum(map(len, GROUPS.values()))
    assert ACCOUNTS[: len(USEFUL)] == USEFUL
    assert all(account in GROUPS[group_of(account)] for account in ACCOUNTS)
    assert set(CAUSES) <= {*GROUPS["device"], *GROUPS["supply"]}
    with pytest.raises(KeyError):
        group_of("utilisation")


def test_columns_for_people_are_in_seconds_and_never_is_not_a_number() -> None:
    """Picoseconds divided once; codes become words."""
    two = np.array([2 * 10**12, -1])
    ones = np.array([1, 1])
    named = RequestColumns(two, ones, ones, two, two, ones, np.array([0, 1]), ("", "too long")).named()
    assert named["arrival_s"][0] == named["finish_s"][0] == named["first_token_s"][0] == 2.0
    assert np.isnan(named["finish_s"][1])
    assert named["reason"].tolist() == ["", "too long"]
    assert list(named) == [
        "arrival_s", "prompt_tokens", "output_tokens", "first_token_s", "finish_s", "preemptions", "reason",
    ]  # fmt: skip
    rows = LedgerColumns(
        np.array([0]), np.array([5 * 10**11]), np.array([0]), np.array([1]), np.array([ACCOUNTS.index("row")]),
        np.array([7.0]), ("decode",), ("a", "b"), (1.0, 2.0), ("B/s", "FLOP/s"),
    ).named()  # fmt: skip
    assert {name: column.tolist() for name, column in rows.items()} == {
        "start_s": [0.0], "end_s": [0.5], "phase": ["decode"], "scope": ["b"], "account": ["row"], "amount": [7.0],
        "unit": ["FLOP"], "peak_per_s": [2.0],
    }  # fmt: skip


def test_a_frame_gets_text_as_strings_and_numbers_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polars is an extra: a stand-in hands back what its frame is given."""
    stand_in = ModuleType("polars")
    stand_in.DataFrame = dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "polars", stand_in)
    tokens = np.array([1, 2])
    frame = polars_frame({"reason": np.array(["", "too long"]), "tokens": tokens})
    assert frame["reason"] == ["", "too long"]
    assert frame["tokens"] is tokens


def test_the_useful_share_is_that_of_all_useful_accounts() -> None:
    """MBU counts every tensor class, and nothing that was moved for another end."""
    accounts = {"useful_weights": 0.25, "useful_kv_read": 0.125, "overfetch": 0.25, "moved": 0.25, "latency": 0.125}
    assert useful_share(accounts) == 0.375
    assert useful_share({"useful": 0.5, "idle": 0.5}) == 0.5
    assert useful_share({"idle": 1.0}) == 0.0


def test_jobs_of_every_class_that_is_logged_wait_on_the_accounts_of_the_page() -> None:
    """docs/ledger.md says to which account the time of each kind of job goes."""
    rows = PAGE.read_text(encoding="utf-8").split("| job | account |")[1].split("\n\n")[0].splitlines()[2:]
    of_page = {job.strip(): account.strip(" `") for _, job, account, _ in (row.split("|") for row in rows)}
    kinds = {
        "transfer of a memory level": ("memory",),
        "arithmetic": ("compute",),
        "collective, transfer between stages": ("flow",),
        "host work, launch gap, issue of a task": ("host", "launch", "issue"),
        "ramp, first byte under way, switch to near-memory units": ("ramp", "latency", "switch"),
        "another pipeline stage's run": ("stage",),
    }
    assert {kind: of_page[job] for job, several in kinds.items() for kind in several} == CLASS_ACCOUNT


def test_groups_have_the_names_that_figures_and_tables_ask_for() -> None:
    """Every group has a label and a shade for each of its accounts."""
    assert list(GROUP_LABELS) == list(GROUPS)
    assert group_of("overfetch") == "moved"
    assert group_of("useful_weights") == "useful"


def test_rounding_costs_at_most_a_picosecond_a_job() -> None:
    """At a byte a picosecond three jobs may lose three bytes, and no more."""
    scope = Scope("chip0.hbm", "memory", "bytes", 1e12)
    _check_rounding(scope, {"rounding": 3.0}, jobs=3)
    _check_rounding(scope, {}, jobs=0)
    with pytest.raises(SimulationError, match="lost to rounding in 3 jobs"):
        _check_rounding(scope, {"rounding": 3.01}, jobs=3)


def test_what_was_served_and_the_gaps_must_fill_a_scopes_time() -> None:
    """600 bytes and two gaps of 200 ps at a byte a picosecond are 1,000 ps, and no other time."""
    scope = Scope("chip0.hbm", "memory", "bytes", 1e12)
    served, gaps = {"useful_weights": 500.0, "latency": 100.0}, Counter(latency=200, host=200)
    books = closed_books(scope, served, gaps, 1000)
    assert books == {"useful_weights": 500.0, "latency": 300.0, "host": 200.0}
    with pytest.raises(SimulationError, match="does not balance"):
        closed_books(scope, served, gaps, 1001)


@pytest.mark.parametrize(("chips", "links"), [(1, 0), (2, 4)])
def test_links_have_scopes_where_there_are_chips_to_link(chips: int, links: int) -> None:
    """Two chips on a switch have two links each way, at the network's rate; one chip has none to book."""
    scopes = link_scopes(System(load_system("h100-sxm8", [f"chips={chips}"])))
    assert len(scopes) == links
    assert all((scope.kind, scope.peak_per_s) == ("link", 450e9) for scope in scopes)


def test_schedules_of_pipelines_have_the_names_that_a_run_gives() -> None:
    """`drained` and `continuous`, and nothing else."""
    assert list(PIPELINES) == ["drained", "continuous"]
