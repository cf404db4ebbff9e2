"""Files of collective libraries: what each key becomes, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from archsim.errors import InputError
from archsim.network import implementations
from archsim.network.implementations import Implementation, Protocol, load_implementation

FILE = """
name = "lib"
title = "A library"
stand_in = "old"
host = "3 us"
[protocol.one]
least_ranks = 4
[protocol.one.algorithm]
all_reduce = "ring"
[protocol.two.algorithm]
all_reduce = "tree"
[generation.old]
chips = ["a100"]
hop = "1 us"
[generation.old.one]
software = "5.25 us"
step = "2 us"
share = 0.5
up_to = "4 MiB"
[generation.new]
chips = ["h100", "h200"]
hop = "700 ns"
host = "9 us"
[generation.new.one]
software = "1 us"
share = 1
[generation.new.two]
software = "2 us"
share = 0.25
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Take libraries from a folder of the test's own."""
    made = tmp_path / "collectives"
    made.mkdir()
    monkeypatch.setattr(implementations, "bundled_path", lambda _: tmp_path)
    monkeypatch.setattr(implementations, "implementation_names", lambda: [path.stem for path in made.glob("*.toml")])
    load_implementation.cache_clear()
    yield made
    load_implementation.cache_clear()


def test_a_file_becomes_the_protocols_that_its_generation_has(folder: Path) -> None:
    """Times in picoseconds, sizes in bytes; what a protocol leaves out is no step, no limit, two ranks."""
    (folder / "lib.toml").write_text(FILE)
    old = Protocol("lib", "one", {"all_reduce": "ring"}, 5_250_000, 2_000_000, 1_000_000, 0.5, 4 * 2**20, 4)
    assert load_implementation("lib", "A100-SXM") == Implementation("lib", "A library", "old", "", 3_000_000, (old,))
    one = Protocol("lib", "one", {"all_reduce": "ring"}, 1_000_000, 0, 700_000, 1.0, None, 4)
    two = Protocol("lib", "two", {"all_reduce": "tree"}, 2_000_000, 0, 700_000, 0.25, None, 2)
    assert load_implementation("lib", "h200") == Implementation("lib", "A library", "new", "", 9_000_000, (one, two))


def test_what_a_library_falls_back_on_comes_after_its_own_protocols_with_its_note(folder: Path) -> None:
    """Its own title and host time; both say whose parameters stand in."""
    (folder / "lib.toml").write_text('otherwise = "below"\n' + FILE)
    (folder / "below.toml").write_text(FILE.replace('"lib"', '"below"').replace('"3 us"', '"7 us"'))
    both = load_implementation("lib", "tpu")
    assert [(each.implementation, each.name) for each in both.protocols] == [("lib", "one"), ("below", "one")]
    assert (both.name, both.title, both.generation, both.host_ps) == ("lib", "A library", "old", 3_000_000)
    assert both.note == "; ".join(
        f"{name} was not measured on tpu: the parameters of old stand in" for name in ("lib", "below")
    )
    assert "on this chip:" in load_implementation("below", "").note


def test_all_problems_of_a_file_are_said_at_once(folder: Path) -> None:
    """A share, a time, a size and a key that are wrong: four problems, each with its place and what it says."""
    text = FILE.replace("share = 0.5", "share = 1.5").replace('"2 us"\nshare', '"2 m"\nshare')
    text = text.replace('"4 MiB"', '"4 MiBs"\nspeed = 3')
    (folder / "lib.toml").write_text(text)
    with pytest.raises(InputError) as refused:
        load_implementation("lib", "a100")
    found = [(problem.key, problem.value) for problem in refused.value.problems]
    assert found == [("generation.old.one.share", "1.5"), ("generation.old.one.speed", ""), ("step", "2 m"),
                     ("up_to", "4 MiBs")]  # fmt: skip
    assert {problem.file for problem in refused.value.problems} == {str(folder / "lib.toml")}


@pytest.mark.parametrize("share", ["0", "true", '"half"', "-0.5"])
def test_a_share_is_a_number_above_zero_and_not_above_one(share: str, folder: Path) -> None:
    """Neither zero, nor a word, nor true."""
    (folder / "lib.toml").write_text(FILE.replace("share = 0.5", f"share = {share}"))
    with pytest.raises(InputError, match="a number from 0 to 1"):
        load_implementation("lib", "a100")


def test_a_generation_without_a_protocol_and_a_name_that_is_none_are_refused(folder: Path) -> None:
    """The message says which table lacks what, or which names there are."""
    (folder / "lib.toml").write_text(FILE.replace("[generation.old.one]", "[generation.old.three]"))
    with pytest.raises(InputError, match=r"generation\.old.*a table of one of its protocols"):
        load_implementation("lib", "a100")
    with pytest.raises(InputError, match="did you mean 'lib'"):
        load_implementation("libb", "a100")
    assert load_implementation("lib", "h100").note == ""
