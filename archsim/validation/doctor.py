"""Is this installation whole, and how fast is it: versions, cache, extras, and two small known answers with their time.

The answers are checked, not only timed: HBM3-6400 read in sequence behind Ramulator 2.1's controller sustains four
fifths of its peak over the first 100,000 requests, and an iteration's books balance or the step floor says so.
Processor time is compared with that of the first machine archsim was measured on, a server core of 2023.
"""

from __future__ import annotations

import platform
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from archsim.cache import cache_folder, kept
from archsim.dram.address import parse_map
from archsim.dram.build import DeviceOptions, build_device
from archsim.dram.channel import simulate
from archsim.dram.profile import PROFILES
from archsim.dram.streams import Domain, make_stream
from archsim.errors import ArchsimError
from archsim.files import bundled_names
from archsim.result import ARCHSIM_VERSION
from archsim.simulate import load_model, load_system
from archsim.single import Bench

__all__ = ["EXTRAS", "REQUIRED", "Findings", "Speed", "examine"]

REQUIRED = (
    "click", "jinja2", "matplotlib", "networkx", "numba", "numpy", "pydantic", "rich", "simpy", "tomlkit",
)  # fmt: skip
"""Packages that archsim cannot do without, as setup.cfg asks for them."""
EXTRAS = {
    "import": ("pyyaml",),
    "cluster": ("dask", "distributed", "dask-jobqueue"),
    "data": ("pyarrow",),
    "search": ("optuna",),
    "measure": ("torch",),
    "notebook": ("polars",),
    "docs": ("sphinx", "furo", "myst-parser", "sphinx-click"),
}
"""Extra -> its packages, as in setup.cfg without those for developers."""
_REQUESTS = 100_000
_SHARE = (0.8, 0.84)
_EXPECTED_REQUESTS_PER_S = 10e6
_EXPECTED_STEP_S = 0.015


@dataclass(frozen=True, slots=True)
class Speed:
    """A small job with a known answer."""

    what: str
    measured: float
    """Higher is faster."""
    unit: str
    relative: float
    """To the core of 2023."""
    right: bool


@dataclass(frozen=True, slots=True)
class Findings:
    """What an examination found."""

    archsim: str
    python: str
    system: str
    packages: dict[str, str | None]
    """Required package -> version; None: missing."""
    extras: dict[str, dict[str, str | None]]
    bundled: dict[str, int]
    """Kind of bundled file -> how many."""
    cache: str | None
    """Folder; None: nothing can be kept."""
    cache_files: int
    cache_bytes: int
    speeds: tuple[Speed, ...]
    problem: str = ""

    @property
    def well(self) -> bool:
        """Whether archsim runs and answers right."""
        return not self.problem and all(self.packages.values()) and all(speed.right for speed in self.speeds)


def examine() -> Findings:
    """Look at the installation; takes seconds, more where kernels are compiled for the first time."""
    problem = ""
    speeds: tuple[Speed, ...] = ()
    try:
        speeds = (_memory_speed(), _step_speed())
    except ArchsimError as error:
        problem = str(error)
    folder = cache_folder()
    sizes = kept()
    return Findings(
        archsim=ARCHSIM_VERSION,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}, {sys.implementation.name}",
        packages={name: _version(name) for name in REQUIRED},
        extras={extra: {name: _version(name) for name in names} for extra, names in EXTRAS.items()},
        bundled={
            "systems": len(bundled_names("hwconfigs", "systems", (".toml",))),
            "models": len(bundled_names("workloads", "models", (".json",))),
        },
        cache=_without_home(folder) if folder else None,
        cache_files=len(sizes),
        cache_bytes=sum(sizes),
        speeds=speeds,
        problem=problem,
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _without_home(folder: Path) -> str:
    home = Path.home()
    return f"~/{folder.relative_to(home)}" if folder.is_relative_to(home) else str(folder)


def _memory_speed() -> Speed:
    device = build_device("HBM3", DeviceOptions(channel_gbit=16))
    address_map = parse_map("pc1 bg2 co5 ba2 sid1 ro15", device, place="doctor")
    domain = Domain(1 << address_map.bits, device.transaction_bytes, address_map.lowest_row_bit())
    stream = make_stream("seq", 0, requests=_REQUESTS, domain=domain, place="doctor")
    profile = PROFILES["ramulator2"]
    simulate(device, address_map, profile, stream)
    start = time.process_time()
    run = simulate(device, address_map, profile, stream)
    rate = _REQUESTS / max(time.process_time() - start, 1e-6)
    right = _SHARE[0] < float(run.utilisation) < _SHARE[1]
    return Speed("memory channel", rate / 1e6, "M requests/s", rate / _EXPECTED_REQUESTS_PER_S, right)


def _step_speed() -> Speed:
    bench = Bench(load_system("h100-sxm8"), load_model("llama-3.1-8b"))
    bench.step(batch=8, context=1000)
    start = time.process_time()
    result = bench.step(batch=9, context=1000)
    took = max(time.process_time() - start, 1e-6)
    right = result.mbu is not None and 0 < result.mbu < 1
    return Speed("decode iteration", 1 / took, "iterations/s", _EXPECTED_STEP_S / took, right)
