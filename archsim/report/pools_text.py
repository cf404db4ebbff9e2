"""Designs of several systems in words and characters: the page of `show`, rows of `list`, lines of `run`."""

from __future__ import annotations

from typing import Any

from archsim.hardware.division_spec import CascadeSpec
from archsim.hardware.parts import main_memory_of
from archsim.hardware.pools_spec import PoolSpec, PoolsSpec
from archsim.metrics.cascading import CascadeClass
from archsim.result import PoolFacts, Result
from archsim.units import exact_quantity, format_quantity, seconds_of

__all__ = ["pool_lines", "pools_lines", "pools_row"]

_KIND = "pools"
_WIDTH = 44


def pools_row(spec: PoolsSpec) -> dict[str, Any]:
    """Return what a list says of a design, in SI units; capacity and peak are those of the main pool's chip."""
    chips = [pool.system.chip for pool in spec.machines.values()]
    main = spec.pools[spec.main].system.chip
    memory = main.memory[main.main_memory]
    return {
        "name": spec.name,
        "kind": _KIND,
        "status": spec.status,
        "title": spec.title,
        "vendor": "pools of several systems",
        "chip": " + ".join(dict.fromkeys(chip.name for chip in chips)),
        "chips": sum(pool.replicas * pool.system.chips for pool in spec.machines.values()),
        "kinds": [_KIND],
        "topology": _KIND,
        "memory": main_memory_of(main),
        "memories": list(dict.fromkeys(m.device.standard for chip in chips for m in chip.memory.values())),
        "memory_bytes": memory.capacity_bytes,
        "usable_bytes": memory.usable_bytes,
        "peak_bytes_per_s": memory.peak_bytes_per_s,
    }


def pools_lines(spec: PoolsSpec) -> list[str]:
    """Return the drawing of *spec*: users, pools and what joins them."""
    if spec.link is not None:
        overlap = "each layer as it is computed" if spec.link.overlap == "layer" else "once the prompt is done"
        names = [spec.pool_that("prefill"), spec.pool_that("decode")]
        rate, latency = exact_quantity(spec.link.bytes_per_s, "bytes/s"), seconds_of(spec.link.latency_ps)
        wire = [
            f"        │  KV caches: {rate} a copy and way, {format_quantity(latency, 's')}, {overlap}",
            "        ▼",
        ]
        return ["users", *_way(""), *_box(names[0], spec), *wire, *_box(names[1], spec)]
    if spec.cascade is not None:
        first = spec.cascade.first
        second = next(name for name in spec.pools if name != first)
        far = [_far(spec.pools[name]).removeprefix(", ") for name in (first, second)]
        return ["users", *_way(far[0]), *_box(first, spec), *_way(_check(spec.cascade) + _far(spec.pools[second])),
                *_box(second, spec)]  # fmt: skip
    return ["users", *_forked(spec)]


def _forked(spec: PoolsSpec) -> list[str]:
    """Return the pools that requests are divided between: a branch to each from the one line that leaves the users."""
    lines = ["  │"]
    for place, (name, pool) in enumerate(spec.pools.items()):
        last = place == len(spec.pools) - 1
        lines.append(f"  {'└' if last else '├'}──▶ {_law(spec, name) + _far(pool)}".rstrip(" ,"))
        lines += [f"  {' ' if last else '│'}    {line}" for line in _box(name, spec)]
    return lines


def _far(pool: PoolSpec) -> str:
    far = pool.wide_area
    if far is None:
        return ""
    return f", {format_quantity(seconds_of(far.latency_ps), 's')} away, {exact_quantity(far.bytes_per_s, 'bytes/s')}"


def _check(law: CascadeSpec) -> str:
    """Return who goes on, and when."""
    if law.share is not None:
        who = f"{float(100 * law.share):g} % of the requests"
    elif law.shares:
        shares = ", ".join(f"{float(100 * share):g}" for share in law.shares)
        who = f"{shares} % of the requests, by prompts of up to {', '.join(map(str, law.bounds))} tokens and more"
    else:
        what = "prompts" if law.law == "prompt" else "requests"
        who = f"{what} of more than {law.most_tokens:,} tokens"
    after = "their answers" if law.check == "answer" else f"{law.check_tokens} tokens"
    chips = ", on the same chips" if law.chips == "shared" else ""
    return f"{who}, after {after}{chips}"


def _way(text: str) -> list[str]:
    return [f"        │  {text}".rstrip(), "        ▼"]


def _law(spec: PoolsSpec, name: str) -> str:
    law = spec.divide
    if law is None:
        return ""
    mine = name == law.first
    if law.share is not None:
        return f"{float(100 * (law.share if mine else 1 - law.share)):g} % of the requests"
    if law.shares:
        shares = ", ".join(f"{float(100 * (share if mine else 1 - share)):g}" for share in law.shares)
        return f"{shares} % of the requests, by prompts of up to {', '.join(map(str, law.bounds))} tokens and more"
    what = "prompts" if law.law == "prompt" else "requests"
    return f"{what} of {'at most' if mine else 'more than'} {law.most_tokens:,} tokens"


def _box(name: str, spec: PoolsSpec) -> list[str]:
    pool = spec.pools[name]
    texts = [f"{name}: {pool.replicas} x {pool.system.name}, serves {pool.serves}", *_about(pool)]
    inner = max(_WIDTH, *(len(text) + 2 for text in texts))
    return ["┌" + "─" * inner + "┐", *(f"│ {text:<{inner - 1}}│" for text in texts), "└" + "─" * inner + "┘"]


def _about(pool: PoolSpec) -> list[str]:
    chip = pool.system.chip
    memory = chip.memory[chip.main_memory]
    peak = format_quantity(memory.peak_bytes_per_s, "bytes/s")
    text = f"{pool.system.chips} x {chip.title}, {memory.device.standard} {peak} each"
    named = [f"{key} {value}" for key, value in (("model", pool.model), ("parallel", pool.parallel),
                                                 ("router", pool.router)) if value]  # fmt: skip
    return [text, *([", ".join(named)] if named else [])]


def pool_lines(result: Result) -> list[tuple[str, str]]:
    """Return a line for each pool of *result*, and one for what passed between them."""
    lines = [(name, _did(pool)) for name, pool in (result.pools or {}).items()]
    moved = result.kv_transfers
    if moved is not None:
        text = f"{moved.count:,} caches, {format_quantity(moved.bytes, 'bytes', digits=3)}"
        if moved.wait_s is not None and moved.time_s is not None:
            wait, time = (format_quantity(value, "s", digits=3) for value in (moved.wait_s, moved.time_s))
            text += f"; waited {wait} and took {time} after the prompt, mean"
        lines.append(("KV transfers", text))
    if result.cascade is not None:
        lines += [(name, _became(one)) for name, one in result.cascade.classes.items()]
    return lines


def _became(one: CascadeClass) -> str:
    """Return what a line says of a class of a cascade's requests."""
    text = f"{one.requests:,} requests ({100 * one.share:.1f} %)"
    if one.discarded_tokens:
        text += f", {one.discarded_tokens:,} tokens not kept"
    for name, spread in (("TTFT", one.ttft_s), ("end to end", one.e2e_s)):
        if spread.p50 is not None and spread.p99 is not None:
            half, most = (format_quantity(value, "s", digits=3) for value in (spread.p50, spread.p99))
            text += f"; {name} p50 {half}, p99 {most}"
    if one.usd_per_request is not None:
        text += f"; {one.usd_per_request:.2g} USD"
    if one.joules_per_request is not None:
        text += f", {one.joules_per_request:,.3g} J"
    return text + " each"


def _did(pool: PoolFacts) -> str:
    ways = pool.parallelism.model_dump()
    named = ",".join(f"{name}={ways[name]}" for name in ("tp", "pp", "dp", "ep", "cp") if ways[name] > 1) or "tp=1"
    shares = ", ".join(
        f"{'idle' if phase == 'none' else phase} {100 * one.time_share:.1f} %"
        + (f" (MBU {100 * one.mbu:.1f} %)" if one.mbu and phase != "none" else "")
        for phase, one in pool.phases.items()
    )
    return f"{pool.replicas} x {pool.system.name}, {named}, {pool.model}; {pool.completed:,} completed; {shares}"
