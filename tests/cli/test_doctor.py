"""`archsim doctor` and `archsim completion`: what is there, what is missing, and what a shell needs."""

from __future__ import annotations

import configparser
import json
import os
import re
from pathlib import Path

import click
import pytest

from archsim.cache import cache_folder, kept
from archsim.cli import COMMANDS, group, main
from archsim.validation import doctor

SETUP = Path(__file__).parents[2] / "setup.cfg"


def test_doctor_finds_this_installation_well(capsys: pytest.CaptureFixture[str]) -> None:
    """Its answers are right, its packages have versions, and JSON says the same."""
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["well"] is True
    assert all(found["packages"].values())
    assert [speed["right"] for speed in found["speeds"]] == [True, True]
    assert found["bundled"]["systems"] > 50


def test_doctor_knows_the_packages_of_setup() -> None:
    """Required packages are those of setup.cfg, and the extras that it names ask for what they ask for there."""
    setup = configparser.ConfigParser()
    setup.read(SETUP)

    def names(text: str) -> tuple[str, ...]:
        return tuple(sorted(re.split(r"[<>=;\[]", line)[0].strip() for line in text.split("\n") if line.strip()))

    extras = {name: names(text) for name, text in setup["options.extras_require"].items() if name != "dev"}
    assert names(setup["options"]["install_requires"]) == tuple(sorted(doctor.REQUIRED))
    named = {name: tuple(sorted(packages)) for name, packages in doctor.EXTRAS.items()}
    assert named == {name: extras[name] for name in named}


def test_doctor_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A required package without a version ends with 1; the line names it."""
    monkeypatch.setattr(doctor, "REQUIRED", (*doctor.REQUIRED, "no-such-package"))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "no-such-package MISSING" in out
    assert out.endswith("verdict   NOT WELL\n")


def test_files_that_another_process_takes_away_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is written beside is there under a hidden name, and gone when its size is asked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache_folder()
    assert folder is not None
    (folder / "answer").write_bytes(b"12345")
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda top: ((place, [], [*names, ".gone"]) for place, _, names in walk(top)))
    assert kept() == [5]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The script asks archsim by the variable that it answers to."""
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert "_ARCHSIM_COMPLETE" in out
    assert "archsim" in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("archsim ru", "plain,run"),
        ("archsim run --mod", "plain,--model"),
        ("archsim run h100-sxm8 --model qwen3-8", "plain,qwen3-8b"),
        ("archsim show m4-m", "plain,m4-max"),
        ("archsim run m4-max --trace azu", "plain,azure-conv"),
    ],
)
def test_commands_options_and_bundled_names_complete(
    words: str, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a shell shows for the last word."""
    monkeypatch.setenv("_ARCHSIM_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit):
        main([])
    assert expected in capsys.readouterr().out.splitlines()


def _commands(command: click.Command, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], click.Command]]:
    found = [(path, command)]
    if isinstance(command, click.Group):
        names = COMMANDS if command is group else tuple(command.commands)
        for name in names:
            if path[1:] == ("trace",) and name == "show":
                continue  # another name of `inspect`
            below = command.get_command(click.Context(command), name)
            assert below is not None
            found += _commands(below, (*path, name))
    return found


@pytest.mark.parametrize(
    ("path", "command"),
    _commands(group, ("archsim",)),
    ids=lambda each: "-".join(each) if isinstance(each, tuple) else "",
)
def test_the_help_of_every_command_has_an_example_and_says_what_options_mean(
    path: tuple[str, ...], command: click.Command
) -> None:
    """The example begins with the command itself; no option stands without a word."""
    text = " ".join((command.help or "").split())
    assert f"Example: {' '.join(path)}" in text or (path == ("archsim",) and "Example: archsim" in text)
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{' '.join(path)} {option.opts[0]}"
