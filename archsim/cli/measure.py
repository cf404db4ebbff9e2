"""`archsim measure`: time kernels on the GPU at hand, and write a calibration of its system."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("measure")
@click.argument("system")
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="Default: archsim-measure-N.")
def command(*, system: str, out: Path | None) -> int:
    """Measure the GPU of this machine and set it beside SYSTEM, a bundled name or a TOML file.

    Times streaming reads, products of 1 to 64 rows, paged attention, kernels in a graph and launched one by one. Writes
    kernels.csv (of the suite kernels), measured.json, and system.toml: SYSTEM with the measured gap, ramp, bytes in
    flight and sustained rate, each with device, driver and date. Needs PyTorch (pip install 'archsim[measure]') and an
    NVIDIA GPU; without them it says so and exits with 2.

    Example: archsim measure h200-sxm8 --out h200
    """
    from archsim.validation.torch_device import open_device

    device = open_device()
    from archsim.validation.measured_files import measure_into

    for line in measure_into(device, system, out=out, tell=lambda text: click.echo(text, err=True)):
        click.echo(line)
    return 0
