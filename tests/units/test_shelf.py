"""A shelf of parts: what equal designs share, what different ones do not, and that no result depends on it."""

from archsim.hardware.shelf import Shelf
from archsim.hardware.system import System
from archsim.simulate import load_model, load_system
from archsim.single import Bench

GAP, LINK = "runtime.launch_gap=3 us", "network.link_latency=900 ns"
TILE = "chip.engine.matrix.row_tile=16"
SYSTEM, MODEL = "h100-sxm8", "llama-3.1-8b"


def test_equal_chips_and_networks_are_the_same_parts() -> None:
    """Another launch gap changes neither; another link leaves the chip, another engine the network."""
    shelf = Shelf()
    base, gap, link, tile = (System(load_system(SYSTEM, change), shelf) for change in ([], [GAP], [LINK], [TILE]))
    assert gap.levels is base.levels is link.levels
    assert tile.levels is not base.levels
    assert gap.network is base.network is tile.network
    assert link.network is not base.network


def test_results_do_not_depend_on_what_is_on_a_shelf() -> None:
    """Each design after the others, in an order that shares chips and networks, gives the bytes that it gives alone."""
    shelf, model = Shelf(), load_model(MODEL)
    for change in ([], [GAP], [LINK], [LINK, GAP], [TILE], []):
        spec = load_system(SYSTEM, change)
        shared = Bench(spec, model, shelf=shelf).step(batch=8, context=1024)
        assert shared.to_json() == Bench(spec, model).step(batch=8, context=1024).to_json()


def test_a_shelf_keeps_the_latest_few() -> None:
    """After many other networks the first one is made anew."""
    shelf = Shelf()
    first = shelf.fabric(load_system(SYSTEM))
    assert shelf.fabric(load_system(SYSTEM)) is first
    for latency_ns in range(1, 40):
        shelf.fabric(load_system(SYSTEM, [f"network.link_latency={latency_ns} ns"]))
    assert shelf.fabric(load_system(SYSTEM)) is not first
