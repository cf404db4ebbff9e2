"""The frame of the command line: help, exit codes, start-up, what reaches a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import click
import pytest

import archsim
from archsim import cli
from archsim.errors import InputError, Problem, SimulationError
from archsim.result import ARCHSIM_VERSION

PYTHON = [sys.executable, "-c"]
START = "import sys; from archsim.cli import main; sys.exit(main())"
SOURCE = str(Path(archsim.__file__).parents[1])


def archsim_process(*arguments: str, start: str = START) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    environment = os.environ | {"PYTHONPATH": SOURCE}
    return subprocess.run(
        [*PYTHON, start, *arguments], capture_output=True, text=True, check=False, env=environment, timeout=120
    )


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Return a function that puts a body in the place of `archsim schema`."""

    def install(body: Callable[[], object]) -> None:
        module = ModuleType("archsim.cli.schema")
        module.command = click.command("schema")(body)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "archsim.cli.schema", module)

    return install


def raising(error: BaseException) -> Callable[[], object]:
    """Return a function that raises *error*."""

    def body() -> None:
        raise error

    return body


def test_help_lists_every_command_with_its_summary() -> None:
    """Each name of COMMANDS has a module, a summary and an example in its own help."""
    page = archsim_process("--help").stdout
    for name in cli.COMMANDS:
        line = next(line.split(maxsplit=1) for line in page.splitlines() if line.split()[:1] == [name])
        assert len(line) == 2, name
        assert f"archsim {name}" in archsim_process(name, "--help").stdout, f"{name} has no example"


def test_every_command_file_is_a_command() -> None:
    """A file of the room that holds an object `command` is in COMMANDS: nothing is written and then forgotten."""
    files = Path(cli.__file__).parent.glob("*.py")
    holding = {
        path.stem.rstrip("_").replace("_", "-")
        for path in files
        if "\ndef command(" in path.read_text() or "\ncommand" in path.read_text()
    }
    assert holding == set(cli.COMMANDS)


def test_start_up_loads_nothing_heavy() -> None:
    """`archsim --help` must not pay for numpy, pydantic, matplotlib, numba or networkx."""
    start = (
        "import sys; from archsim.cli import main; main();"
        "print(sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    loaded = archsim_process("--help", start=start).stderr
    heavy = {"numpy", "pydantic", "matplotlib", "numba", "networkx", "simpy", "rich", "jinja2", "tomlkit"}
    assert {name for name in heavy if f"'{name}'" in loaded} == set()
    assert "'archsim'" in loaded


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError(Problem("x.toml", "chip", "", "a name")), 2, "archsim: x.toml: chip: expected a name\n"),
        (SimulationError("deadlock"), 1, "archsim: deadlock\n"),
        (click.UsageError("no such thing"), 2, "Error: no such thing\n"),
        (KeyboardInterrupt(), 130, "archsim: interrupted\n"),
        (ZeroDivisionError("by zero"), 1, "ZeroDivisionError: by zero (archsim --debug shows where)\n"),
    ],
)  # fmt: skip
def test_errors_become_a_message_and_an_exit_code(
    command: Callable[[Callable[[], object]], None],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    message: str,
) -> None:
    """0 done, 1 the run failed, 2 the input is wrong, 130 interrupted: a message on stderr and never a traceback."""
    command(raising(error))
    assert cli.main(["schema"]) == code
    printed = capsys.readouterr()
    assert printed.err.lstrip("\n").endswith(message)
    assert printed.err.count("\n") <= 4
    assert "Traceback" not in printed.err + printed.out
    assert printed.out == ""


def test_all_problems_of_an_input_are_printed(
    command: Callable[[Callable[[], object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line for each problem, so that a user mends them in one go."""
    command(raising(InputError(Problem("a", "k", "1", "two"), Problem("a", "l", "3", "four"))))
    assert cli.main(["schema"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "archsim: a: k: got '1'; expected two",
        "archsim: a: l: got '3'; expected four",
    ]


def test_debug_lets_an_error_through(command: Callable[[Callable[[], object]], None]) -> None:
    """With `--debug` the exception reaches the interpreter, traceback and all."""
    command(raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.main(["--debug", "schema"])


def test_exit_code_of_a_command_is_that_of_the_process(command: Callable[[Callable[[], object]], None]) -> None:
    """A command that finds a check failed ends with `ctx.exit(1)`."""
    command(lambda: click.get_current_context().exit(1))
    assert cli.main(["schema"]) == 1
    command(lambda: None)
    assert cli.main(["schema"]) == 0


@pytest.mark.parametrize("arguments", [["comparr"], ["run"], ["--no-such-option"], ["schema", "extra"]])
def test_wrong_usage_is_wrong_input(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown command or option, or a missing argument, ends with 2."""
    assert cli.main(arguments) == 2
    assert "Error" in capsys.readouterr().err


def test_unknown_command_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error is named together with the command that was meant."""
    cli.main(["comparr"])
    assert "did you mean 'compare'?" in capsys.readouterr().err


def test_reader_that_leaves_early_is_no_error_message() -> None:
    """`archsim schema | head -1` prints no traceback and no complaint of the interpreter's last flush."""
    line = f'"{sys.executable}" -c "{START}" schema | head -1'
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": SOURCE}
    )
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_schema_prints_json_alone() -> None:
    """What `archsim schema` prints can be piped into any JSON tool."""
    assert json.loads(archsim_process("schema").stdout)["title"] == "Result"


def test_version_is_printed() -> None:
    """`archsim --version` prints the version of provenance."""
    assert archsim_process("--version").stdout == f"archsim {ARCHSIM_VERSION}\n"


def test_python_users_see_the_five_verbs_and_the_result() -> None:
    """The names of `archsim.__all__` exist; `archsim.run` is the function."""
    start = (
        "import archsim; from archsim.simulate import load_system;"
        "print(callable(archsim.run), archsim.load_system is load_system, archsim.Result.__name__, dir(archsim))"
    )
    printed = archsim_process(start=start).stdout
    assert printed.startswith("True True Result ['ClosedLoop', 'Result', 'evaluate_step'")


def test_unknown_name_of_the_package_is_an_attribute_error() -> None:
    """`archsim.nonsense` fails as on any module."""
    with pytest.raises(AttributeError, match="nonsense"):
        _ = archsim.nonsense
