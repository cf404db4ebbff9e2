"""The table of what techniques change in bytes and FLOPs is the one that the script makes, and keeps its laws."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("techniques_page", ROOT / "scripts" / "techniques_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(script: ModuleType) -> dict[str, list[float]]:
    """Return precision or model -> weights, KV, matrix and vector FLOPs, as the page prints them."""
    found = {}
    for line in script.table().splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name, precision = re.findall(r"`([^`]+)`", cells[1])
        found[precision if name == "llama-3.1-8b" else name] = [float(cell.split()[0]) for cell in cells[2:]]
    return found


def test_no_figure_of_the_table_is_typed_by_hand(script: ModuleType) -> None:
    """Writing the table again changes nothing."""
    text = script.PAGE.read_text(encoding="utf-8")
    assert script.BEGIN in text
    assert script.page(text) == text


def test_bytes_follow_bits_scales_and_places(rows: dict[str, list[float]]) -> None:
    """Stored bits of a weight over 16: 4 + 16/128 with a scale a group, 8/2 + 1 with two of four and their places."""
    whole, cache, flops, _ = rows["w16a16kv16"]
    for name, bits in (("w8a16kv16", 8), ("w4g128a16kv16", 4 + 16 / 128), ("w2g64a16kv16", 2 + 16 / 64),
                       ("wmxfp4a16kv16", 4 + 8 / 32), ("w8x2of4a16kv16", 5), ("w16x50a16kv16", 9)):  # fmt: skip
        # The page rounds to 10 MB.
        assert rows[name][0] == pytest.approx(whole * bits / 16, abs=0.01), name
    for name, bits in (("w16a16kv8", 8), ("w16a16kv4g64", 4.25), ("w16a16kv2g32", 2.5)):
        assert rows[name][1] == pytest.approx(cache * bits / 16, abs=0.001), name
        assert rows[name][2] == flops
    assert rows["w8x2of4a16kv16"][2] < rows["w16x50a16kv16"][2] == flops


def test_early_exit_reads_all_weights_and_less_cache(rows: dict[str, list[float]]) -> None:
    """Half of the tokens leave after half of the layers: weights stay, and a quarter of the cache is not read."""
    weights, cache, flops, _ = rows["w16a16kv16"]
    left = rows["llama-3.1-8b+exit=16:50"]
    assert left[0] == weights
    assert left[1] == pytest.approx(0.75 * cache, abs=0.001)
    assert left[2] < flops
