"""`archsim trace replay`: an operator graph on a system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from archsim.cli.groups import overrides_option
from archsim.cli.options import json_option

if TYPE_CHECKING:
    from archsim.step.graph import GraphReplay

__all__ = ["replay"]


@click.command()
@click.argument("graph", type=click.Path(path_type=Path))
@click.argument("system")
@click.option("--dtype", metavar="T", help="Of the products: fp8 (default: bf16 where the engine has it).")
@overrides_option
@json_option
def replay(graph: Path, *, system: str, dtype: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Replay the Chakra execution trace GRAPH of one rank on SYSTEM, node by node in order of dependencies.

    Example: archsim trace replay rank0.et h100-sxm8
    """
    from json import dumps

    from archsim.hardware.system import System
    from archsim.simulate import load_system
    from archsim.step.graph import replay_graph
    from archsim.workload.chakra import read_graph

    loaded = read_graph(graph)
    machine = System(load_system(system, overrides))
    done = replay_graph(loaded, machine, dtype)
    facts = {
        "graph": loaded.name, "system": machine.spec.name, "nodes": len(loaded.nodes), "modelled": done.modelled,
        "recorded": done.recorded, "unmet_dependencies": loaded.unmet, "makespan_s": done.makespan_ps * 1e-12,
        "exposed_network_s": done.exposed_ps * 1e-12,
        "busy_s": {engine: time * 1e-12 for engine, time in done.busy_ps.items()},
        "critical_path_s": {engine: time * 1e-12 for engine, time in done.critical_ps.items()},
    }  # fmt: skip
    if as_json:
        click.echo(dumps(facts, indent=2, allow_nan=False))
        return
    click.echo(f"{loaded.name} on {machine.spec.title}: {facts['nodes']:,} nodes")
    click.echo("\n".join(_lines(done)))
    if loaded.unmet:
        click.echo(f"  {loaded.unmet:,} dependencies on nodes that the file does not hold are taken as met")


def _lines(done: GraphReplay) -> list[str]:
    from archsim.units import format_quantity

    def shown(picoseconds: int) -> str:
        return format_quantity(picoseconds * 1e-12, "s")

    lines = [
        f"  makespan          {shown(done.makespan_ps)}",
        f"  from this system  {done.modelled:,} nodes; {done.recorded:,} state no size and take their recorded time",
        "                    busy         on the critical path",
    ]
    for engine, time in done.busy_ps.items():
        lines.append(f"  {engine:<18}{shown(time):<13}{shown(done.critical_ps[engine])}")
    return [*lines, f"  network alone     {shown(done.exposed_ps)}"]
