"""Laws of spares, failed nodes and static routes: what stands by, what takes a place, which way messages go."""

from __future__ import annotations

from pathlib import Path

import pytest

from archsim.errors import InputError
from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.result import Result
from archsim.simulate import evaluate_step
from archsim.workload.model import load_model

MODEL = load_model("llama-3.1-8b")
NINE = ("chips=9", "spares=1")


def step(*overrides: str) -> Result:
    """Return a decode step of 32 sequences on H100 behind one switch."""
    system = load_system("h100-sxm8", list(overrides))
    return evaluate_step(system, MODEL, batch=32, context=1000, precision="w8a16kv16")


def test_a_spare_changes_no_time_and_an_eighth_more_chips_are_idle() -> None:
    """Eight of nine work as eight do; of nine memories a ninth is idle, and MBU is 8 / 9 of what it was."""
    eight, nine = step(), step(*NINE)
    assert nine.latency_s == eight.latency_s
    assert eight.mbu is not None
    assert nine.mbu == pytest.approx(eight.mbu * 8 / 9)
    assert nine.ledger["chip0-8.hbm"].accounts["idle"] == pytest.approx(1 / 9)


def test_on_a_switch_a_spare_is_as_good_as_the_chip_it_stands_in_for() -> None:
    """Every port is alike: the step takes as long, and no memory is idle any more."""
    before, after = step(*NINE), step(*NINE, 'network.failed=["chip3"]')
    assert after.latency_s == before.latency_s
    assert all(not ledger.accounts.get("idle") for name, ledger in after.ledger.items() if name.endswith("hbm"))
    assert not [name for name in after.ledger if name.startswith("chip3.")]
    assert after.ledger["chip8.hbm"].accounts["useful_weights"] > 0


def test_a_spare_of_the_same_block_goes_first() -> None:
    """Two nodes of nine: chips 8 and 17 stand by; chip 11 is replaced by 17, a second one of its node by 8."""
    two = ("chips=18", "spares=2", "network.shape=[9]")
    one_lost = load_system("h100-sxm8x2", [*two, 'network.failed=["chip11"]'])
    assert one_lost.working_chips == (*range(8), 9, 10, 17, *range(12, 17))
    assert one_lost.idle_chips == (8,)
    both_lost = load_system("h100-sxm8x2", [*two, 'network.failed=["chip11", "chip12"]'])
    assert both_lost.working_chips == (*range(8), 9, 10, 17, 8, *range(13, 17))


def test_without_a_spare_a_failed_chip_is_an_error_with_the_numbers() -> None:
    """Nothing can take its place; nor for a second one."""
    with pytest.raises(InputError, match=r"at most 0 failed chips.*chip3"):
        load_system("h100-sxm8", ['network.failed=["chip3"]'])
    with pytest.raises(InputError, match=r"at most 1 failed chips.*chip4"):
        load_system("h100-sxm8", [*NINE, 'network.failed=["chip3", "chip4"]'])
    with pytest.raises(InputError, match="divisor"):
        load_system("h100-sxm8", ["chips=9", "spares=2"])


def test_routes_go_around_a_failed_chip() -> None:
    """In a 3 x 3 mesh the way from west to east over the middle takes two hops more when the middle is out."""
    overrides = ["chips=9", "spares=1", "network.topology=mesh", "network.shape=[3, 3]"]
    plain = System(load_system("tpu-v4-64", overrides)).network
    around = System(load_system("tpu-v4-64", [*overrides, 'network.failed=["chip4"]'])).network
    assert [plain.links[link].dst for link in plain.route(3, 5)] == ["chip4", "chip5"]
    assert len(around.route(3, 5)) == 4
    assert all("chip4" not in (link.src, link.dst) for link in (around.links[i] for i in around.route(3, 5)))
    assert around.route(0, 2) == plain.route(0, 2)


def test_a_failed_switch_that_cuts_chips_off_is_an_error() -> None:
    """Eight chips on one switch cannot reach each other without it; an unknown node is named."""
    with pytest.raises(InputError, match="chip0 -> chip1"):
        _ = System(load_system("h100-sxm8", ['network.failed=["switch0"]'])).network
    with pytest.raises(InputError, match="switch0"):
        _ = System(load_system("h100-sxm8", ['network.failed=["swich0"]'])).network


SQUARE = """
kind = "system"
name = "square"
title = "Four chips"
status = "hypothetical"
chip = "h100-sxm"
chips = 4
runtime = "trtllm-2025"
[network]
topology = "edges"
{routing}
"""
EDGE = '[[network.edges]]\nfrom = "chip{}"\nto = "chip{}"\nbandwidth = "10 GB/s"\nlatency = "1 us"\nweight = {}\n'


def square(folder: Path, *, routing: str = "", heavy: int = 1, tables: str = "") -> System:
    """Return a ring of four whose links between 0 and 1 weigh *heavy*."""
    wires = [(0, 1, heavy), (1, 2, 1), (2, 3, 1), (3, 0, 1)]
    edges = "".join(EDGE.format(a, b, weight) + EDGE.format(b, a, weight) for a, b, weight in wires)
    (folder / "square.toml").write_text(SQUARE.format(routing=routing) + edges + tables)
    return System(load_system(str(folder / "square.toml")))


def nodes(system: System, src: int, dst: int) -> list[str]:
    """Return the nodes that a message passes after its source."""
    return [system.network.links[link].dst for link in system.network.route(src, dst)]


def test_weights_and_tables_of_a_file_decide_the_way(tmp_path: Path) -> None:
    """A link of weight 5 is gone around by three of weight 1; a table goes before that."""
    assert nodes(square(tmp_path), 0, 1) == ["chip1"]
    assert nodes(square(tmp_path, heavy=5), 0, 1) == ["chip3", "chip2", "chip1"]
    table = '[[network.routes]]\npath = ["chip0", "chip1"]\n'
    assert nodes(square(tmp_path, heavy=5, tables=table), 0, 1) == ["chip1"]


def test_ecmp_of_a_file_spreads_pairs_over_equal_paths(tmp_path: Path) -> None:
    """Opposite corners have two ways of two hops: over all four pairs both are taken, always the same by each."""
    system = square(tmp_path, routing='routing = "ecmp"')
    ways = {(a, b): nodes(system, a, b)[0] for a, b in ((0, 2), (2, 0), (1, 3), (3, 1))}
    again = square(tmp_path, routing='routing = "ecmp"')
    assert all(nodes(again, *pair)[0] == first for pair, first in ways.items())
    assert len({(pair[0] - int(first[4:])) % 4 for pair, first in ways.items()}) == 2


def test_a_route_over_a_missing_link_is_an_error(tmp_path: Path) -> None:
    """There is no wire between opposite corners; the path is shown. Two paths for one pair are refused too."""
    with pytest.raises(InputError, match="chip0 -> chip2"):
        _ = square(tmp_path, tables='[[network.routes]]\npath = ["chip0", "chip2"]\n').network
    twice = '[[network.routes]]\npath = ["chip0", "chip1"]\n' * 2
    with pytest.raises(InputError, match="one path"):
        square(tmp_path, tables=twice)
