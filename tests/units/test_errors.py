"""Errors: what a message says."""

from __future__ import annotations

from archsim.errors import ArchsimError, CapacityError, InputError, Problem, SimulationError, did_you_mean, printable


def test_a_problem_names_file_key_value_and_what_was_expected() -> None:
    """All four parts stand in one line, in that order."""
    problem = Problem("chip.toml", "memory.hbm.stacks", "0", "a number from 1")
    assert str(problem) == "chip.toml: memory.hbm.stacks: got '0'; expected a number from 1"


def test_parts_that_are_missing_leave_no_trace() -> None:
    """A missing key has no value, and an option has no file."""
    assert str(Problem("chip.toml", "name", "", "this key")) == "chip.toml: name: expected this key"
    assert str(Problem("", "", "x", "y")) == "got 'x'; expected y"


def test_a_long_value_is_cut() -> None:
    """A value of 5,000 characters does not fill the screen."""
    assert len(str(Problem("f", "k", "9" * 5000, "less"))) < 130


def test_a_message_does_not_steer_a_terminal() -> None:
    """Keys and names of files are foreign text: escape sequences are shown, letters of any script stay."""
    assert str(Problem("a\x1b[2J.toml", "k\x9by", "\x07", "x")) == r"a\x1b[2J.toml: k\x9by: got '\x07'; expected x"
    assert printable("größe\t漢字\n") == "größe\t漢字\n"
    assert printable("\u202egnp.exe \ud800") == r"\u202egnp.exe \ud800"


def test_an_input_error_carries_every_problem_in_order() -> None:
    """The user mends a file in one go."""
    problems = (Problem("f", "b", "1", "x"), Problem("f", "a", "2", "y"))
    error = InputError(*problems)
    assert error.problems == problems
    assert str(error).splitlines() == [str(problem) for problem in problems]


def test_exit_codes_tell_wrong_input_from_a_failed_run() -> None:
    """2 for input, 1 for everything else of ours."""
    assert (InputError().exit_code, CapacityError().exit_code) == (2, 2)
    assert (ArchsimError().exit_code, SimulationError().exit_code) == (1, 1)


def test_a_near_word_is_suggested_and_a_far_one_is_not() -> None:
    """A hint must help."""
    assert did_you_mean("bandwith", ["bandwidth", "stacks"]) == " (did you mean 'bandwidth'?)"
    assert did_you_mean("zzz", ["bandwidth", "stacks"]) == ""
