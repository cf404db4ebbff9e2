"""Traffic served by a placed model: which replay serves what, and the rate that saturates it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from archsim.errors import InputError, Problem
from archsim.placed import Placed
from archsim.result import ARCHSIM_VERSION
from archsim.serving.checkpoint import Keeper
from archsim.serving.closed_loop import replay_closed_loop
from archsim.serving.configure import arrivals_of, sessions_of
from archsim.serving.decode_only import Recorder, replay_decode
from archsim.serving.fleet import Fleet, replay_fleet
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival
from archsim.serving.saturation import Saturation, saturate
from archsim.serving.servers import Progress
from archsim.serving.sessions import replay_sessions
from archsim.serving.techniques import PLAIN
from archsim.summary.facts import command_of
from archsim.traffic import Checkpointed, Recorded, Traffic
from archsim.workload.closed_loop import ClosedLoop
from archsim.workload.decode_trace import DecodeTrace
from archsim.workload.stream import Stream
from archsim.workload.trace import Trace

__all__ = ["saturated", "serve"]

_ROUTER = "--parallel router"


def serve(setup: Placed, traffic: Traffic, *, progress: Progress | None = None) -> Fleet:
    """Return the record of serving *traffic*, and that of each replica where there are several.

    Raises `InputError` for traffic that *setup* does not serve as it is asked to.
    """
    if isinstance(traffic, Recorded):
        recorder, shares = setup.recorder or Recorder(traffic.path), setup.techniques != PLAIN
        with recorder.writing(model=setup.model.name, shares=shares):
            return serve(setup, traffic.traffic, progress=progress)
    if isinstance(traffic, DecodeTrace):
        return _decode_only(setup, traffic)
    if isinstance(traffic, Checkpointed):
        return _checkpointed(setup, traffic, progress)
    if isinstance(traffic, ClosedLoop):
        return _closed_loop(setup, traffic, progress)
    if isinstance(traffic, Trace) and traffic.closed:
        return _sessions(setup, traffic, progress)
    counted = isinstance(traffic, Stream)
    return _routed(setup, arrivals_of(traffic), sessions_of(traffic), progress=progress, tallied=counted)


def saturated(setup: Placed, trace: Trace | Stream, slo_s: float) -> Saturation:
    """Return the highest rate of *trace* that meets *slo_s*."""
    return saturate(
        arrivals_of(trace),
        setup.costs,
        limits=setup.limits,
        slo_tpot_s=slo_s,
        policy=setup.scheduler,
        serve=lambda arrivals: _routed(setup, arrivals, sessions_of(trace)).record,
    )


def _routed(
    setup: Placed,
    arrivals: Iterator[Arrival],
    sessions: Sequence[int],
    *,
    progress: Progress | None = None,
    tallied: bool = False,
) -> Fleet:
    """Serve *arrivals*; of *tallied* requests no rows are kept."""
    group = setup.servers()
    group = replace(group, limits=replace(group.limits, tallied=tallied))
    if setup.replicas:
        return replay_fleet(arrivals, group, sessions=sessions, progress=progress)
    return Fleet(replay(arrivals, group.costs, limits=group.limits, policy=group.policy, progress=progress), ())


def _checkpointed(setup: Placed, trace: Checkpointed, progress: Progress | None) -> Fleet:
    traffic, wanted = trace.traffic, trace.wanted
    if setup.replicas or traffic.closed:
        expected = "one server, and requests that do not wait for others: nothing else is written to a checkpoint"
        found = f"{len(setup.replicas)} replicas" if setup.replicas else f"{traffic.name} in a closed loop"
        raise InputError(Problem("", "--resume" if wanted.resume else "--checkpoint", found, expected))
    identity = {
        "archsim": ARCHSIM_VERSION,
        "command": f"{command_of(setup.design)} {traffic.options}",
        "system": setup.design.config_digest,
    }
    keeper = Keeper(wanted, identity, setup.costs, lambda: traffic.digest_so_far)
    limits = replace(setup.limits, tallied=isinstance(traffic, Stream))
    record = replay(
        arrivals_of(traffic), setup.costs, limits=limits, policy=setup.scheduler, progress=progress, keeper=keeper
    )
    return Fleet(record, ())


def _decode_only(setup: Placed, trace: DecodeTrace) -> Fleet:
    if setup.drafting is not None:
        expected = "no speculation: a decode trace has a token a sequence in every iteration"
        raise InputError(Problem(setup.spec.name, "serving.speculation", "", expected))
    return replay_decode(trace, setup.costs, limits=setup.limits, replicas=len(setup.replicas) or 1)


def _closed_loop(setup: Placed, loop: ClosedLoop, progress: Progress | None) -> Fleet:
    if setup.spread.router:
        expected = "no router for a closed loop: its users are dealt to the replicas and stay"
        raise InputError(Problem("", _ROUTER, setup.spread.router, expected))
    return replay_closed_loop(loop, setup.servers(), progress=progress)


def _sessions(setup: Placed, trace: Trace, progress: Progress | None) -> Fleet:
    if setup.spread.router not in {"", "session_affinity", None}:
        expected = "session_affinity for a trace in a closed loop: sessions are dealt to the replicas and stay"
        raise InputError(Problem("", _ROUTER, setup.spread.router or "", expected))
    return replay_sessions(trace, setup.servers(), progress=progress)
