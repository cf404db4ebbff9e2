"""The walk from a datasheet to a running config in docs/hardware.md works as it is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from pydantic import BaseModel

import archsim
from archsim.hardware.door import inner_type
from archsim.hardware.library import load_system
from archsim.hardware.sources import sources
from archsim.hardware.spec import (
    ChipSpec,
    DecompressionSpec,
    NearMemorySpec,
    PlacementSpec,
    RuntimeSpec,
    ServingSpec,
    SystemSpec,
    ThermalSpec,
    TopologySpec,
    ViaSpec,
)

PAGE = (Path(__file__).parents[2] / "docs" / "hardware.md").read_text(encoding="utf-8")


def _write_files(folder: Path) -> None:
    for name, text in re.findall(r"^`([\w-]+\.toml)`:\n\n```toml\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE):
        (folder / name).write_text(text, encoding="utf-8")


def test_the_files_of_the_page_load_and_every_number_has_a_source(tmp_path: Path) -> None:
    """Two files beside each other make a system."""
    _write_files(tmp_path)
    system = str(tmp_path / "my-system.toml")
    assert (load_system(system).name, load_system(system).chip.name) == ("my-system", "my-chip")
    assert all(row.kind for row in sources(system))


def test_the_commands_of_the_walk_run(tmp_path: Path) -> None:
    """In the folder that holds the two files, one after the other."""
    _write_files(tmp_path)
    (script,) = re.findall(r"^```sh\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    done = subprocess.run(
        ["bash", "-ec", f'archsim() {{ "{sys.executable}" -m archsim "$@"; }}\n{script}'],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(archsim.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "my-system.svg").is_file()


def test_the_page_explains_every_key() -> None:
    """Each key of each table stands in the page, as `--set` would name its end."""
    memory = ChipSpec.model_fields["memory"].annotation
    assert memory is not None
    models = [
        SystemSpec,
        TopologySpec,
        RuntimeSpec,
        ChipSpec,
        NearMemorySpec,
        PlacementSpec,
        DecompressionSpec,
        ThermalSpec,
        ViaSpec,
        memory.__args__[1],
        ServingSpec,
        *(
            table
            for info in ServingSpec.model_fields.values()
            if isinstance(table := inner_type(info.annotation), type) and issubclass(table, BaseModel)
        ),
    ]
    models.append(memory.__args__[1].model_fields["device"].annotation)
    keys = {info.alias or name for model in models for name, info in model.model_fields.items()}
    assert [key for key in sorted(keys) if not re.search(rf"`[\w.,` ]*\b{key}\b", PAGE)] == []
