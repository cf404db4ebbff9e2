"""Interpolated step costs are exactly additive: ten iterations cost what four and the six that follow do."""

from archsim.step.costs import FINE_BITS, StepCosts
from archsim.step.record import StepRecord
from archsim.workload.batch import Batch


def simulated(batch: Batch) -> StepRecord:
    """Return an iteration that takes 5 us, 1 ns a sequence, and time with the square of the context."""
    time_ps = 5_000_000 + 1000 * batch.decode + batch.kv_tokens**2 // 1000
    return StepRecord("decode", time_ps, (), {}, (), (), 0, 0)


costs = StepCosts(simulated)
ten, four, six = costs.decode(37, 5000, 10), costs.decode(37, 5000, 4), costs.decode(37, 5000 + 4 * 37, 6)
print(f"{len(costs.records)} iterations simulated")
for knot, weight in ten.knots:
    print(f"knot of {costs.records[knot].time_ps:,} ps: {weight / 2**FINE_BITS:.6f} iterations")
for name, time_fine in (("ten", ten.time_fine), ("four and six", four.time_fine + six.time_fine)):
    print(f"{name}: {time_fine:,} / 2**{FINE_BITS} ps")
