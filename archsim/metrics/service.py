"""How requests were served, beyond latencies: pure functions over their columns.

    goodput = completed requests that met every level / elapsed time
    Jain's index of n rates x = (sum of x)^2 / (n sum of x^2): 1 where all are equal, 1/n where one has all
    share of a request in a phase = its tokens of the phase's kind / those of all completed requests

A phase's time and energy go to the requests by those shares: of prefill by prompt tokens, of decode by output tokens,
of mixed iterations and of idle time by both. They sum to the whole (Jain, Chiu and Hawe, DEC-TR-301, 1984).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from archsim.metrics.columns import RequestColumns
from archsim.units import PS_PER_S

__all__ = ["binned_percentile", "jain_index", "met", "output_rates", "shares_of_requests"]

Floats = npt.NDArray[np.float64]


def met(requests: RequestColumns, *, ttft_s: float | None, tpot_s: float | None) -> npt.NDArray[np.bool_]:
    """Return which requests were completed within the levels that are given; one token has no TPOT to miss."""
    good = requests.finish_ps >= 0
    if ttft_s is not None:
        good &= requests.first_token_ps - requests.arrival_ps <= round(ttft_s * PS_PER_S)
    if tpot_s is not None:
        further = requests.output_tokens - 1
        good &= requests.finish_ps - requests.first_token_ps <= further * round(tpot_s * PS_PER_S)
    return good


def output_rates(requests: RequestColumns) -> Floats:
    """Return output tokens per second from arrival to last token, of the completed requests that took any time."""
    spent = requests.finish_ps - requests.arrival_ps
    done = (requests.finish_ps >= 0) & (spent > 0)
    return requests.output_tokens[done] * float(PS_PER_S) / spent[done]


def jain_index(rates: Floats) -> float | None:
    """Return Jain's index of *rates*; None where there are none or all are zero."""
    squares = math.fsum((rates * rates).tolist())
    return math.fsum(rates.tolist()) ** 2 / (len(rates) * squares) if squares else None


def shares_of_requests(requests: RequestColumns, amounts: Mapping[str, float]) -> Floats:
    """Return what of *amounts*, by phase, each request has: shape (requests,), 0 for those not completed."""
    done = requests.finish_ps >= 0
    prompt = np.where(done, requests.prompt_tokens, 0).astype(np.float64)
    output = np.where(done, requests.output_tokens, 0).astype(np.float64)
    by_phase = {"prefill": prompt, "decode": output}
    total = np.zeros(len(done))
    for phase, amount in amounts.items():
        tokens = by_phase.get(phase, prompt + output)
        if (whole := float(tokens.sum())) > 0:
            total += amount * tokens / whole
    return total


def binned_percentile(bins: Mapping[int, int], percent: int) -> int | None:
    """Return the lower edge of the bin that holds the nearest-rank percentile; None of nothing."""
    count = sum(bins.values())
    rank = -(-percent * count // 100)
    for edge in sorted(bins):
        rank -= bins[edge]
        if rank <= 0:
            return edge
    return None
