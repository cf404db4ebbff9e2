"""Calculon system JSON (calculon-ai/calculon, systems/*.json; Isaev et al., SC 2023).

Its efficiency tables are what archsim exists to replace by mechanism, so none is mapped. Of its networks the first is
the machine; a second one joins machines and is named as left out.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from archsim.hardware.importers.chip import (
    add_cache,
    add_chip_head,
    add_head,
    add_matrix,
    add_memory,
    add_network,
    add_vector,
    stacks_for,
)
from archsim.hardware.importers.draft import Draft, Source

__all__ = ["NAME", "convert", "is_it"]

NAME = "Calculon system JSON"
_TERA, _GIGA = 10**12, 10**9
_MOST_CHIPS = 4096


def is_it(content: dict[str, Any]) -> bool:
    """Return whether *content* is of this format."""
    return all(key in content for key in ("matrix", "vector", "mem1", "networks"))


def convert(source: Source) -> Draft:
    """Return the system in *source*."""
    draft = Draft(source)
    chips = source.whole("networks", "0", "size")
    if chips > _MOST_CHIPS:
        raise source.problem(("networks", "0", "size"), str(chips), f"at most {_MOST_CHIPS} chips in the first network")
    name = source.file.rpartition("/")[2].removesuffix(".json")
    add_head(draft, name, chips, draft.stated("networks", "0", "size"))
    bandwidth = source.optional("networks", "0", "bandwidth") if chips > 1 else None
    if bandwidth is None:
        add_network(draft, "none", (Fraction(1), ""), (Fraction(1), ""))
    else:
        latency = source.number("networks", "0", "latency") / 2
        add_network(draft, "switch", (bandwidth * _GIGA, draft.stated("networks", "0", "bandwidth")),
                    (latency, draft.stated("networks", "0", "latency", how="half, to the switch or back")))  # fmt: skip
    if source.table("networks", "1"):
        draft.note("networks.1: machines joined to more; write topology two_level with outer_bandwidth for them")
    peak = source.number("mem1", "GBps") * _GIGA
    add_chip_head(draft, name, peak, (Fraction(16 * 2**20), "assumption: not in the file; a round figure"))
    memory = stacks_for(peak)
    add_memory(draft, memory, (source.number("mem1", "GiB") * 2**30, draft.stated("mem1", "GiB")),
               wiring="assumption: not in the file; stacks of HBM that reach the bandwidth",
               rate=draft.stated("mem1", "GBps", how="over the pins"))  # fmt: skip
    add_cache(draft, (Fraction(32 * 2**20), "assumption: not in the file; a round figure"),
              (2 * peak, "assumption: not in the file; twice the memory's"))  # fmt: skip
    matrix = source.number("matrix", "tflops") * _TERA
    origin = draft.stated("matrix", "tflops")
    add_matrix(draft, {"bf16": (matrix, origin), "fp16": (matrix, origin)},
               row_tile=(8, "assumption: not in the file; as on GPUs"))  # fmt: skip
    add_vector(draft, source.number("vector", "tflops") * _TERA, draft.stated("vector", "tflops"))
    return draft
