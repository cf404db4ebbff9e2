"""aiconfigurator system YAML (ai-dynamo/aiconfigurator, systems/*.yaml): rates of a GPU and of its node.

Its empirical factors and measured kernels are not mapped. Its point-to-point latency holds software, which archsim
states apart, so it is named as left out.
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

NAME = "aiconfigurator system YAML"
_TYPES = {
    "bfloat16_tc_flops": ("bf16", "fp16"),
    "float16_tc_flops": ("fp16",),
    "int8_tc_flops": ("int8",),
    "fp8_tc_flops": ("fp8",),
    "fp4_tc_flops": ("fp4",),
}
"""Key of the file -> element types that run at its rate."""
_VECTOR_SHARE = 15
"""Tensor cores over vector units in bf16 to fp32: 989 over 67 TFLOP/s on H100."""


def is_it(content: dict[str, Any]) -> bool:
    """Return whether *content* is of this format."""
    gpu = content.get("gpu")
    return isinstance(gpu, dict) and "mem_bw" in gpu and isinstance(content.get("node"), dict)


def convert(source: Source) -> Draft:
    """Return the system in *source*."""
    draft = Draft(source)
    chips = source.whole("node", "num_gpus_per_node")
    name = source.file.rpartition("/")[2].rpartition(".")[0]
    add_head(draft, name, chips, draft.stated("node", "num_gpus_per_node"))
    _network(draft, source, chips)
    peak = source.number("gpu", "mem_bw")
    add_chip_head(draft, name, peak, (Fraction(16 * 2**20), "assumption: not in the file; a round figure"))
    if (power := source.optional("gpu", "power")) is not None:
        draft.quantity("chip", "tdp", power, "W", draft.stated("gpu", "power"))
    _memory(draft, source, peak)
    add_cache(draft, (Fraction(32 * 2**20), "assumption: not in the file; a round figure"),
              (2 * peak, "assumption: not in the file; twice the memory's"))  # fmt: skip
    _engines(draft, source)
    return draft


def _network(draft: Draft, source: Source, chips: int) -> None:
    rate = source.optional("node", "intra_node_bw") if chips > 1 else None
    if rate is None:
        if chips > 1:
            raise source.problem(("node", "intra_node_bw"), "", "the rate of a link, for more than one GPU")
        add_network(draft, "none", (Fraction(1), ""), (Fraction(1), ""))
        return
    add_network(draft, "switch", (rate, draft.stated("node", "intra_node_bw")),
                (Fraction(500, 10**9), "assumption: p2p_latency holds software; a switch of today"))  # fmt: skip


def _memory(draft: Draft, source: Source, peak: Fraction) -> None:
    capacity, other = source.number("gpu", "mem_capacity"), source.optional("misc", "other_mem")
    held = {} if other is None else {"reserved": (other, draft.stated("misc", "other_mem"))}
    add_memory(
        draft,
        stacks_for(peak),
        (capacity, draft.stated("gpu", "mem_capacity")),
        wiring="assumption: not in the file; stacks of HBM that reach the bandwidth",
        rate=draft.stated("gpu", "mem_bw", how="over the pins"),
        **held,
    )


def _engines(draft: Draft, source: Source) -> None:
    rates: dict[str, tuple[Fraction, str]] = {}
    for key, dtypes in _TYPES.items():
        rate = source.optional("gpu", key)
        if rate is not None:
            rates |= {dtype: (rate, draft.stated("gpu", key)) for dtype in dtypes}
    if "bf16" not in rates:
        raise source.problem(("gpu", "bfloat16_tc_flops"), "", "the rate of bf16, which every model needs")
    add_matrix(draft, rates, row_tile=(8, "assumption: not in the file; as on GPUs"))
    add_vector(draft, rates["bf16"][0] / _VECTOR_SHARE, "assumption: not in the file; a fifteenth of bf16, as on H100")
