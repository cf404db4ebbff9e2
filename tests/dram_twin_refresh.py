"""Refresh in the order of HBM stacks, written plainly: part of `dram_twin`.

Each interval refreshes one bank of every lane, lane after lane, a tick apart; a stack id's banks come in order, then
the next stack id's. A stack id whose round is complete rests for tRFCpb before the next one that begins in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from archsim.dram.device import Device

__all__ = ["StackOrder"]


@dataclass
class StackOrder:
    """Which bank is refreshed next; `due` is asked once a tick."""

    device: Device
    at: int
    """First tick at which the next round of lanes may begin."""
    turn: int = 0
    """Rounds of lanes begun: the bank within the lane, counted over all rounds."""
    waiting: list[int] = field(default_factory=list)
    """Banks of this round whose lane's tick is still to come."""
    rest: dict[tuple[int, int], int] = field(default_factory=dict)

    def due(self, now: int) -> int | None:
        """Return the bank to refresh at tick *now*, if any."""
        if not self.waiting and not self._begins(now):
            return None
        bank = self.waiting.pop(0)
        within = bank % self._stack_banks
        if within == self._stack_banks - 1:
            lane, stack = divmod(bank // self._stack_banks, self._stacks)
            self.rest[lane, stack] = now + self.device.refresh_bank_ticks
        return bank

    @property
    def _stacks(self) -> int:
        levels = self.device.levels
        return self.device.sizes[levels.index("sid")] if "sid" in levels else 1

    @property
    def _stack_banks(self) -> int:
        return self.device.banks // self.device.lanes // self._stacks

    def _begins(self, now: int) -> bool:
        if now < self.at:
            return False
        of_lane = self._stacks * self._stack_banks
        place = self.turn % of_lane
        stack = place // self._stack_banks
        if any(now < self.rest.get((lane, stack), 0) for lane in range(self.device.lanes)):
            self.at = now + 1
            return False
        self.waiting = [lane * of_lane + place for lane in range(self.device.lanes)]
        self.at += self.device.refresh_bank_interval_ticks
        self.turn += 1
        return True
