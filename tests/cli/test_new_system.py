"""`archsim new-system`: a template that is a system."""

from __future__ import annotations

from pathlib import Path

import pytest

from archsim.cli import main
from archsim.hardware.library import load_system
from archsim.hardware.sources import sources_of_file
from archsim.hardware.template import template_text


@pytest.mark.parametrize("start", ["h100-sxm8", "tpu-v6e-8", "m4-max", "h100-hbf", "h100-sxm8-pnm", "groq-576"])
def test_a_template_is_the_system_it_starts_from(start: str, tmp_path: Path) -> None:
    """Apart from names and status every value is equal, and every number has an origin."""
    path = tmp_path / "mine.toml"
    path.write_text(template_text("mine", start=start), encoding="utf-8")
    made, origin = load_system(str(path)), load_system(start)
    assert made.network == origin.network
    assert made.runtime == origin.runtime
    names = {"name", "status", "aliases"}
    assert made.chip.model_dump(exclude=names) == origin.chip.model_dump(exclude=names)
    assert [row.path for row in sources_of_file(path) if not row.kind] == []


def test_a_template_explains_each_key_and_lists_what_may_be_left_out() -> None:
    """A comment above each value; optional keys stand as comments."""
    text = template_text("mine", start="h100-sxm8")
    assert "# Thermal design power\ntdp = " in text
    assert "#: host_time = ..." in text


def test_nothing_is_overwritten_and_names_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second writing, a bundled name and a path as a name are refused with exit code 2."""
    monkeypatch.chdir(tmp_path)
    assert main(["new-system", "mine"]) == 0
    before = (tmp_path / "mine.toml").read_bytes()
    for name in ("mine", "h100-sxm8", "../up", "Upper", ""):
        assert main(["new-system", name]) == 2
    assert main(["new-system", "other", "--from", "h100-smx8"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert (tmp_path / "mine.toml").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]
