"""The event kernel and the log of jobs: whole picoseconds, the order of an instant, plain errors."""

from __future__ import annotations

import pytest
import simpy

from archsim.errors import SimulationError
from archsim.kernel import ROOT, JobLog, Kernel, Process


def test_events_of_one_instant_fire_by_rank_and_then_in_the_order_they_were_made() -> None:
    """Whoever asks for rank 2 comes after rank 1, and both after plain waits, which have rank 0."""
    kernel, fired = Kernel(), []

    def wait(event: simpy.Event, name: str) -> Process:
        value = yield event
        fired.append((name, kernel.now_ps, value))

    kernel.process(wait(kernel.wait_in_turn_ps(7, 2), "second"))
    kernel.process(wait(kernel.wait_in_turn_ps(7, 1), "first"))
    kernel.process(wait(kernel.wait_in_turn_ps(7, 1), "first, too"))
    kernel.process(wait(kernel.wait_ps(7), "plain"))
    kernel.run()
    assert fired == [("plain", 7, None), ("first", 7, None), ("first, too", 7, None), ("second", 7, None)]


@pytest.mark.parametrize("delay", [-1, 0.5, 2.0])
def test_a_delay_is_a_whole_number_of_picoseconds(delay: float) -> None:
    """A fraction would make the clock drift; zero is a delay."""
    kernel = Kernel()
    with pytest.raises(TypeError, match="non-negative integer"):
        kernel.wait_ps(delay)  # type: ignore[arg-type]
    kernel.wait_ps(0)


def test_time_passes_at_once_where_nothing_else_is_to_happen() -> None:
    """The clock and the count of events are those of a wait, which is given where another event is due."""
    kernel = Kernel()
    assert kernel.pass_ps(5) is None
    assert kernel.pass_ps(4) is None
    assert (kernel.now_ps, kernel.event_count) == (9, 2)
    kernel.wait_ps(1)
    wait = kernel.pass_ps(3)
    assert isinstance(wait, simpy.Timeout)
    kernel.run(wait)
    assert (kernel.now_ps, kernel.event_count) == (12, 4)


def test_a_simulation_that_runs_dry_says_what_it_waited_for() -> None:
    """An event that nobody is left to cause is a deadlock, not an error of SimPy."""
    kernel = Kernel()
    kernel.wait_ps(3)
    with pytest.raises(SimulationError, match="deadlock: no event is left and the last byte has not happened"):
        kernel.run_until(kernel.event(), waiting_for="the last byte")


def test_an_error_of_a_process_is_not_a_deadlock() -> None:
    """What a process raises comes out as it is, whether or not it was the one waited for."""
    kernel = Kernel()

    def fail() -> Process:
        yield kernel.wait_ps(3)
        raise RuntimeError("a part broke")

    kernel.process(fail())
    with pytest.raises(RuntimeError, match="a part broke"):
        kernel.run_until(kernel.event(), waiting_for="the last byte")
    with pytest.raises(RuntimeError, match="No scheduled events left"):
        kernel.run_until(kernel.process(_unlucky(kernel)), waiting_for="the last byte")


def _unlucky(kernel: Kernel) -> Process:
    yield kernel.wait_ps(1)
    raise RuntimeError("No scheduled events left, said a process")


def test_what_is_waited_for_hands_its_value_on() -> None:
    """A run until an event returns its value."""
    kernel = Kernel()
    event = kernel.event()

    def happen() -> Process:
        yield kernel.wait_ps(3)
        event.succeed("here")

    kernel.process(happen())
    assert kernel.run_until(event, waiting_for="it") == "here"


def test_the_latest_job_is_that_which_ends_last_and_of_two_that_logged_last() -> None:
    """In either order of asking."""
    log = JobLog()
    long = log.add("memory", rank=0, lap=0, start=0, end=9, predecessor=ROOT)
    short = log.add("memory", rank=0, lap=0, start=0, end=4, predecessor=ROOT)
    equal = log.add("memory", rank=0, lap=0, start=4, end=9, predecessor=short)
    assert log.latest(long, short) == log.latest(short, long) == long
    assert log.latest(long, equal) == log.latest(equal, long) == equal


def test_no_job_ends_before_it_starts() -> None:
    """One of no length may be logged."""
    log = JobLog()
    log.add("memory", rank=0, lap=0, start=0, end=0, predecessor=ROOT)
    with pytest.raises(SimulationError, match="cannot follow"):
        log.add("memory", rank=0, lap=0, start=0, end=-1, predecessor=ROOT)
