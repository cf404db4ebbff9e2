"""When replicas start, drain, are taken back and are off: one load rising and falling, instant by instant."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from archsim.serving.scaling import ScaleLog, Scaler
from archsim.serving.techniques import ScaleRule

RULE = ScaleRule(least=1, most=3, scale=1, high=2, low=1, start_up_ps=100, cool_down_ps=50)


class Story:
    """A scaler, and a clock that is set by hand; timers ring when it passes them."""

    def __init__(self, rule: ScaleRule, replicas: int = 3) -> None:
        self.now_ps = 0
        self.timers: list[tuple[int, Any]] = []
        kernel: Any = SimpleNamespace(process=self._begin, wait_ps=lambda wait_ps: wait_ps)
        self._kernel = kernel
        self.scaler = Scaler(rule, replicas, kernel)

    def _begin(self, process: Any) -> None:
        self.timers.append((self._kernel.now_ps + next(process), process))

    def to(self, now_ps: int) -> None:
        """Let time pass."""
        for at_ps, process in sorted(self.timers, key=lambda timer: timer[0]):
            if at_ps <= now_ps:
                self._kernel.now_ps = at_ps
                self.timers = [timer for timer in self.timers if timer[1] is not process]
                assert next(process, None) is None
        self._kernel.now_ps = now_ps

    def arrive(self, now_ps: int, goes_to: int) -> list[int]:
        """Return the replicas that may get a request, which goes to one of them."""
        self.to(now_ps)
        may = self.scaler.arrive(now_ps)
        self.scaler.sent(goes_to)
        return may

    def done(self, now_ps: int, *replicas: int) -> None:
        """End a request on each of *replicas*."""
        self.to(now_ps)
        for replica in replicas:
            self.scaler.done(replica)


@pytest.fixture
def risen() -> Story:
    """Return three replicas of which two have started, at 2 and 4 ps, with five requests on the first one."""
    story = Story(RULE)
    assert [story.arrive(at, 0) for at in range(5)] == [[0]] * 5
    return story


def test_a_replica_starts_beyond_the_load_and_takes_requests_when_it_has_started(risen: Story) -> None:
    """More than two requests for each: at the third and at the fifth; 100 ps later both take some, and no fourth is."""
    assert risen.arrive(101, 0) == [0]
    assert risen.arrive(102, 0) == [0, 1]
    assert risen.arrive(104, 2) == [0, 1, 2]
    assert risen.arrive(104, 2) == [0, 1, 2]
    assert risen.scaler.log(1000) == ScaleLog(((0, 1), (2, 2), (4, 3)), (1000, 998, 996), 2, 0)


def test_the_last_replica_drains_below_the_load_and_is_off_when_it_has_nothing(risen: Story) -> None:
    """Two left for three replicas: the third is off at once; then one for two: the second one, a cool-down later."""
    risen.done(120, 0, 0)
    assert risen.scaler.log(120).stops == 0
    risen.done(130, 0)
    assert risen.scaler.log(130) == ScaleLog(((0, 1), (2, 2), (4, 3), (130, 2), (130, 2)), (130, 128, 126), 2, 1)
    risen.done(150, 0)
    assert risen.scaler.log(150).stops == 1
    risen.to(179)
    assert risen.scaler.log(179).stops == 1
    risen.to(180)
    assert risen.scaler.log(200) == ScaleLog(
        ((0, 1), (2, 2), (4, 3), (130, 2), (130, 2), (180, 1), (180, 1)), (200, 178, 126), 2, 2
    )
    risen.done(300, 0)
    risen.to(1000)
    assert risen.scaler.log(1000).stops == 2


def test_what_drains_gets_nothing_and_is_taken_back_before_another_starts(risen: Story) -> None:
    """The third has a request when it drains; two more than four bring it back at once, and again it drains."""
    assert risen.arrive(110, 2) == [0, 1, 2]
    risen.done(120, 0, 0, 0, 0)
    assert risen.scaler.log(120) == ScaleLog(((0, 1), (2, 2), (4, 3), (120, 3)), (120, 118, 116), 2, 1)
    assert [risen.arrive(121 + more, 1) for more in range(2)] == [[0, 1], [0, 1]]
    assert risen.arrive(123, 2) == [0, 1, 2]
    assert risen.scaler.log(123) == ScaleLog(((0, 1), (2, 2), (4, 3), (120, 3), (123, 3)), (123, 121, 119), 3, 1)
    risen.done(200, 0, 1, 1)
    assert risen.scaler.log(200).stops == 2
    risen.done(220, 2)
    assert risen.scaler.log(220).changes[-1] == (200, 3)
    risen.done(230, 2)
    assert risen.scaler.log(240) == ScaleLog(
        ((0, 1), (2, 2), (4, 3), (120, 3), (123, 3), (200, 3), (230, 2)), (240, 238, 226), 3, 2
    )


def test_a_load_counts_in_the_rules_unit_and_no_more_start_than_the_rule_says() -> None:
    """Each request counts three; beyond twelve for each the second starts, the third never."""
    story = Story(ScaleRule(least=1, most=2, scale=3, high=12, low=2, start_up_ps=0, cool_down_ps=50))
    assert [story.arrive(at, 0) for at in range(4)] == [[0]] * 4
    assert story.arrive(4, 0) == [0, 1]
    assert [story.arrive(at, 0) for at in range(5, 20)] == [[0, 1]] * 15
    assert story.scaler.log(20).starts == 1


def test_what_runs_from_the_start_takes_requests_at_once_and_stays() -> None:
    """Two of three, without a load."""
    story = Story(ScaleRule(least=2, most=3, scale=1, high=9, low=1, start_up_ps=100, cool_down_ps=1))
    assert story.arrive(10, 1) == [0, 1]
    story.done(500, 1)
    story.to(900)
    assert story.scaler.log(1000) == ScaleLog(((0, 2),), (1000, 1000, 0), 0, 0)
