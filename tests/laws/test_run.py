"""Laws of the whole chain: requests, tokens, bytes and time are conserved from the trace to result.json."""

from __future__ import annotations

import filecmp
import functools
import json
import math
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

import archsim
from archsim import cli
from archsim.errors import CapacityError, InputError
from archsim.hardware.library import load_system, resolved_toml, system_names
from archsim.hardware.spec import SystemSpec
from archsim.metrics.accounts import ACCOUNTS, USEFUL
from archsim.result import LedgerColumns, Result, ScopeLedger, schema_json
from archsim.simulate import evaluate_step, run
from archsim.units import PS_PER_S
from archsim.workload.model import load_model
from archsim.workload.tensors import parameter_count
from archsim.workload.trace import Trace, load_trace

MODEL = load_model("llama-3.1-8b")
BYTES = 2
"""Of a weight or an element of the KV cache: the model is published in 16 bits."""
PUBLISHED = ("a100-sxm8", "h100-sxm8", "h200-sxm8", "b200-sxm8", "mi300x-8", "tpu-v6e-8", "m4-max")
"""Systems that must hold the model."""
REQUESTS = ((0.0, 700, 14), (0.01, 90, 3), (0.02, MODEL.max_context, 1), (0.03, 33, 1), (900.0, 5, 4))
"""(arrival in seconds, prompt, output) of a small trace: the third is beyond the context, idle time before the last."""
SERVED = tuple((prompt, output) for _, prompt, output in REQUESTS if prompt + output <= MODEL.max_context)
CHANNEL = re.compile(r"\.ch\d+$")
SOURCE = str(Path(archsim.__file__).parents[1])


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """Return the small trace."""
    path = tmp_path_factory.mktemp("trace") / "small.csv"
    rows = "".join(f"{arrival},{prompt},{output}\n" for arrival, prompt, output in REQUESTS)
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + rows, encoding="utf-8")
    return load_trace(str(path))


def kind_of(name: str) -> tuple[object, ...]:
    """Return what tells the mechanisms of the system *name* from those of others."""
    spec = load_system(name)
    chip = spec.chip
    memories = tuple(sorted((memory.device.standard, memory.controller) for memory in chip.memory.values()))
    return (chip.vendor, memories, len(chip.near_memory), spec.network.topology, spec.chips > 1, spec.runtime.name)


def one_of_each_kind() -> list[str]:
    """Return the published systems and the first of every other kind."""
    kinds = {kind_of(name): name for name in reversed(system_names())}
    return sorted({*PUBLISHED, *kinds.values()})


SYSTEMS = one_of_each_kind()


def plain(name: str) -> bool:
    """Whether one memory holds everything, all is read through its interface, and prompts are processed alone."""
    spec = load_system(name)
    return len(spec.chip.memory) == 1 and not spec.chip.near_memory and spec.runtime.scheduler == "prefill_first"


PLAIN = [name for name in SYSTEMS if plain(name)]


@functools.cache
def holds(name: str) -> str:
    """Return why the system *name* cannot hold the model, or an empty string."""
    try:
        evaluate_step(load_system(name), MODEL, batch=1, context=1)
    except CapacityError:
        return "too small"
    except InputError as error:
        return str(error)
    return ""


_RESULTS: dict[str, Result] = {}


def replayed(name: str, trace: Trace) -> Result:
    """Return the result of the small trace on the system *name*, run once for all tests."""
    if name not in PUBLISHED and holds(name):
        pytest.skip(f"{name} does not hold {MODEL.name}: {holds(name)}")
    if name not in _RESULTS:
        _RESULTS[name] = run(load_system(name), MODEL, trace=trace)
    return _RESULTS[name]


def ledgers(result: Result) -> Iterator[tuple[str, ScopeLedger]]:
    """Yield every ledger of *result* with a name."""
    for scope, ledger in result.ledger.items():
        yield f"whole run, {scope}", ledger
    for phase, content in result.phases.items():
        for scope, ledger in content.ledger.items():
            yield f"{phase}, {scope}", ledger


def bytes_of(result: Result, account: str, *phases: str) -> float:
    """Return the bytes that the main memory booked to *account* in *phases*."""
    scope = result.system.main_memory
    parts = [(part, part.ledger[scope]) for name, part in result.phases.items() if name in phases]
    return math.fsum(part.time_s * ledger.peak_per_s * ledger.accounts.get(account, 0.0) for part, ledger in parts)


@pytest.mark.parametrize("name", SYSTEMS)
def test_offered_requests_are_completed_or_rejected(name: str, trace: Trace) -> None:
    """No request is lost or served twice, and no token of a completed one."""
    result = replayed(name, trace)
    counts = result.requests
    assert (counts.offered, counts.completed, counts.rejected) == (len(REQUESTS), len(SERVED), 1)
    assert result.tokens.prompt == sum(prompt for prompt, _ in SERVED)
    assert result.tokens.output == sum(output for _, output in SERVED)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_ledger_sums_to_one(name: str, trace: Trace) -> None:
    """Each scope's shares of its peak, over the run and in every phase, add up to 1 within 1e-9; none is negative."""
    result = replayed(name, trace)
    assert {"decode", "prefill", "none"} <= set(result.phases) <= {"decode", "mixed", "prefill", "none"}
    for what, ledger in ledgers(result):
        assert math.fsum(ledger.accounts.values()) == pytest.approx(1, abs=1e-9), what
        assert min(ledger.accounts.values()) >= -1e-9, what


@pytest.mark.parametrize("name", SYSTEMS)
def test_phases_make_up_the_simulated_time(name: str, trace: Trace) -> None:
    """Decode, prefill and idle time add up to the run, and their ledgers, weighted by time, to that of the run.

    Where replicas have phases of their own, what is reported is their mean: it weighs the ledgers of all chips.
    """
    result = replayed(name, trace)
    everywhere = f"chip0-{result.system.chips - 1}."
    assert math.fsum(part.time_s for part in result.phases.values()) == pytest.approx(result.simulated_s, rel=1e-12)
    for scope, ledger in result.ledger.items():
        if result.parallelism.dp > 1 and not scope.startswith(everywhere):
            continue
        for account in ACCOUNTS:
            parts = [part.time_s * part.ledger[scope].accounts.get(account, 0.0) for part in result.phases.values()]
            whole = ledger.accounts.get(account, 0.0) * result.simulated_s
            assert math.fsum(parts) == pytest.approx(whole, rel=1e-9, abs=1e-15), (scope, account)


@pytest.mark.parametrize("name", PLAIN)
def test_kv_bytes_follow_from_the_tokens(name: str, trace: Trace) -> None:
    """Every token is written to the KV cache once, and each decoded token reads the context before it and itself.

    The last output token of a request is never written: nothing comes after it that would read it.
    """
    result = replayed(name, trace)
    token_bytes = MODEL.kv_elements_per_token * BYTES
    written = sum(prompt + output - 1 for prompt, output in SERVED) * token_bytes
    read = sum(sum(prompt + step for step in range(1, output)) for prompt, output in SERVED) * token_bytes
    assert bytes_of(result, "useful_kv_write", "decode", "prefill") == pytest.approx(written, rel=1e-9)
    assert bytes_of(result, "useful_kv_read", "decode") == pytest.approx(read, rel=1e-9)
    assert bytes_of(result, "useful_kv_read", "prefill") == pytest.approx(result.tokens.prompt * token_bytes, rel=1e-9)


@pytest.mark.parametrize("name", PLAIN)
def test_weights_are_read_once_an_iteration(name: str, trace: Trace) -> None:
    """Beside one row of the embedding table a token, weights are read a whole number of times, as there are steps."""
    result = replayed(name, trace)
    table = MODEL.vocabulary * MODEL.hidden
    every_step = (parameter_count(MODEL) - table) * BYTES
    decoded = sum(output - 1 for _, output in SERVED)
    steps = {}
    for phase, tokens in (("decode", decoded), ("prefill", result.tokens.prompt)):
        rows = tokens * MODEL.hidden * BYTES
        steps[phase] = (bytes_of(result, "useful_weights", phase) - rows) / every_step
        assert steps[phase] == pytest.approx(round(steps[phase]), rel=1e-9)
    assert max(output for _, output in SERVED) - 1 <= round(steps["decode"]) <= decoded
    assert 1 <= round(steps["prefill"]) <= len(SERVED)


def test_what_a_preemption_makes_again_is_not_useful(tmp_path: Path) -> None:
    """Recomputed tokens are overfetch, and the one whose decode the recompute stands in for is not written usefully."""
    requests = [(500 + number, 400 - number) for number in range(40)]
    path = tmp_path / "crowd.csv"
    rows = "".join(f"{number / 100},{prompt},{output}\n" for number, (prompt, output) in enumerate(requests))
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + rows, encoding="utf-8")
    # All but 0.4 GiB of what the weights leave is reserved: the KV cache holds some 20,000 of 36,000 tokens.
    result = run(load_system("h100-sxm8", ["hbm.reserved=71242 MiB"]), MODEL, trace=load_trace(str(path)))
    assert result.requests.completed == len(requests)
    assert result.requests.preempted > 0
    token_bytes = MODEL.kv_elements_per_token * BYTES
    written = sum(prompt + output - 1 for prompt, output in requests) - result.requests.preempted
    assert bytes_of(result, "useful_kv_write", "decode", "prefill") == pytest.approx(written * token_bytes, rel=1e-9)
    assert bytes_of(result, "useful_kv_read", "prefill") == pytest.approx(result.tokens.prompt * token_bytes, rel=1e-9)
    weights = MODEL.layers * MODEL.hidden * MODEL.intermediate * BYTES
    assert bytes_of(result, "overfetch", "prefill") > weights


@pytest.mark.parametrize(
    ("model_name", "ways"),
    [
        (MODEL.name, "tp=4,dp=2"),
        (MODEL.name, "tp=4,pp=2"),
        (MODEL.name, "tp=4,cp=2"),
        (MODEL.name, "tp=2,dp=2,pp=2"),
        ("mixtral-8x7b", "tp=8,ep=8"),
        ("mixtral-8x7b", "tp=2,dp=4,ep=8"),
        ("mixtral-8x7b", "tp=1,dp=4,ep=4,pp=2"),
    ],
)
def test_useful_bytes_do_not_depend_on_how_a_model_is_cut(model_name: str, ways: str, trace: Trace) -> None:
    """Over replicas, stages, context shares or experts: the same requests served, the same KV bytes, and balance."""
    model = load_model(model_name)
    context = model.max_context
    served = [(prompt, output) for _, prompt, output in REQUESTS if prompt + output <= context]
    result = run(load_system("h100-sxm8"), model, trace=trace, parallelism=ways)
    assert (result.requests.completed, result.requests.rejected) == (len(served), len(REQUESTS) - len(served))
    token_bytes = model.kv_elements_per_token * BYTES
    written = sum(prompt + output - 1 for prompt, output in served) * token_bytes
    read = sum(sum(prompt + step for step in range(1, output)) for prompt, output in served) * token_bytes
    assert bytes_of(result, "useful_kv_write", "decode", "prefill") == pytest.approx(written, rel=1e-9)
    assert bytes_of(result, "useful_kv_read", "decode") == pytest.approx(read, rel=1e-9)
    assert math.fsum(part.time_s for part in result.phases.values()) == pytest.approx(result.simulated_s, rel=1e-12)
    for what, ledger in ledgers(result):
        assert math.fsum(ledger.accounts.values()) == pytest.approx(1, abs=1e-9), what
        assert min(ledger.accounts.values()) >= -1e-9, what


@pytest.mark.parametrize("name", PUBLISHED)
def test_mbu_is_useful_bytes_over_peak(name: str, trace: Trace) -> None:
    """The headline is the decode phase of the main memory: what the model needed over what the pins could move."""
    result = replayed(name, trace)
    decode = result.phases["decode"]
    peak = decode.ledger[result.system.main_memory].peak_per_s
    assert peak == result.system.memory_bytes_per_s
    useful = math.fsum(bytes_of(result, account, "decode") for account in USEFUL)
    assert result.mbu == decode.mbu == pytest.approx(useful / (peak * decode.time_s), rel=1e-12)
    engine = next(ledger for scope, ledger in decode.ledger.items() if scope.endswith(".matrix"))
    assert result.mfu == decode.mfu == pytest.approx(engine.accounts["useful"], rel=1e-12)


def sums(table: LedgerColumns, *, channels: bool) -> dict[tuple[int, int, str], dict[str, float]]:
    """Return (start, end, phase) -> scope -> amount over all accounts, of channels or of all other scopes."""
    amounts: dict[tuple[int, int, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row, amount in enumerate(table.amount.tolist()):
        scope = table.scopes[table.scope[row]]
        if bool(CHANNEL.search(scope)) == channels:
            window = (int(table.start_ps[row]), int(table.end_ps[row]), table.phases[table.phase[row]])
            amounts[window][scope].append(amount)
    return {key: {scope: math.fsum(parts) for scope, parts in found.items()} for key, found in amounts.items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_window_of_the_ledger_table_balances(name: str, trace: Trace) -> None:
    """In each stretch of time all scopes book peak x time: they agree on the time of each phase, and phases fill it."""
    result = replayed(name, trace)
    assert result.tables is not None
    table = result.tables.ledger
    peaks = dict(zip(table.scopes, table.peaks_per_s, strict=True))
    filled: dict[tuple[int, int], list[float]] = defaultdict(list)
    for (start, end, phase), booked in sums(table, channels=False).items():
        assert set(booked) == set(result.ledger), phase
        times_s = [amount / peaks[scope] for scope, amount in booked.items()]
        assert max(times_s) == pytest.approx(min(times_s), rel=1e-9)
        filled[start, end].append(times_s[0])
    borders = sorted(filled)
    assert [start for start, _ in borders] == [0, *(end for _, end in borders[:-1])]
    assert abs(borders[-1][1] - result.simulated_s * PS_PER_S) <= 1
    for (start, end), times_s in filled.items():
        assert math.fsum(times_s) == pytest.approx((end - start) / PS_PER_S, rel=1e-9, abs=1 / PS_PER_S)


@pytest.mark.parametrize("name", PUBLISHED)
def test_channels_of_a_memory_balance_and_sum_to_it(name: str, trace: Trace) -> None:
    """Each channel books its own peak over the run, and all of them what their memory books."""
    result = replayed(name, trace)
    assert result.tables is not None
    table, memory = result.tables.ledger, result.system.main_memory
    peaks = dict(zip(table.scopes, table.peaks_per_s, strict=True))
    for (_, _, phase), booked in sums(table, channels=True).items():
        time_s = result.phases[phase].time_s  # type: ignore[index]  # a name of the table's phases
        channels = {scope: amount for scope, amount in booked.items() if scope.startswith(f"{memory}.")}
        for scope, amount in channels.items():
            assert amount == pytest.approx(peaks[scope] * time_s, rel=1e-9)
        assert math.fsum(channels.values()) == pytest.approx(peaks[memory] * time_s, rel=1e-9)


@pytest.mark.parametrize("name", ["h100-sxm8", "tpu-v6e-8", "m4-max"])
def test_a_lone_request_takes_the_time_of_its_steps(name: str, tmp_path: Path) -> None:
    """TPOT of one request is the mean of its iterations, each simulated by itself, within 0.5 % of interpolation."""
    prompt, output = 1500, 30
    path = tmp_path / "lone.csv"
    path.write_text(f"arrival_s,prompt_tokens,output_tokens\n0,{prompt},{output}\n", encoding="utf-8")
    system = load_system(name)
    result = run(system, MODEL, trace=load_trace(str(path)))
    steps = [
        evaluate_step(system, MODEL, batch=1, context=prompt + step).latency_s.tpot.mean or 0.0
        for step in range(1, output)
    ]
    assert result.latency_s.tpot.mean == pytest.approx(math.fsum(steps) / len(steps), rel=0.005)
    assert result.phases["decode"].time_s == pytest.approx(math.fsum(steps), rel=0.005)
    assert result.latency_s.e2e.mean == pytest.approx(result.simulated_s, rel=1e-12)


def evaluated(spec: SystemSpec, trace: Trace) -> tuple[str, str]:
    """Return the JSON of a replay and of a step on *spec*."""
    step = evaluate_step(spec, MODEL, batch=7, context=900)
    return run(spec, MODEL, trace=trace, slo_s=0.05).to_json(), step.to_json()


def test_renaming_a_system_changes_names_alone(trace: Trace) -> None:
    """Another name and title of system and chip: the same numbers to the last digit, another digest."""
    spec = load_system("h100-sxm8")
    chip = spec.chip.model_copy(update={"name": "other-chip", "title": "other chip title"})
    renamed = spec.model_copy(update={"name": "other", "title": "other title", "chip": chip})
    for before, after in zip(evaluated(spec, trace), evaluated(renamed, trace), strict=True):
        first, second = json.loads(before), json.loads(after)
        assert second["system"].pop("name") == "other"
        assert second["system"].pop("title") == "other title"
        assert second["system"].pop("chip") == "other-chip"
        assert second["provenance"].pop("command") == first["provenance"].pop("command").replace("h100-sxm8", "other")
        assert second["provenance"].pop("config_digest") != first["provenance"].pop("config_digest")
        for key in ("name", "title", "chip"):
            del first["system"][key]
        assert first == second


def files_of(folder: Path) -> set[str]:
    """Return the paths of all files below *folder*, relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def assert_same_bytes(first: Path, second: Path) -> None:
    """Assert that two folders hold the same files, byte by byte."""
    names = files_of(first)
    assert names == files_of(second)
    assert names
    assert filecmp.cmpfiles(first, second, sorted(names), shallow=False) == (sorted(names), [], [])


@pytest.mark.parametrize(
    "options",
    [("--batch", "4", "--context", "300"), ("--trace", "azure-conv", "--limit", "6", "--seed", "3")],
    ids=["step", "replay"],
)
def test_a_resolved_configuration_runs_again_to_the_same_bytes(
    options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """config.resolved.toml of a run with settings of its own is all it takes to repeat the run, file by file."""
    monkeypatch.chdir(tmp_path)
    asked = ("--model", MODEL.name, *options)
    settings = ("--set", "hbm.stacks=6", "--set", "network.link_bandwidth=300 GB/s", "--set", "host_step=90 us")
    assert cli.main(["run", "h100-sxm8", *asked, *settings, "--out", "first"]) == 0
    assert cli.main(["run", "first/config.resolved.toml", *asked, "--out", "second"]) == 0
    assert_same_bytes(Path("first"), Path("second"))
    text = Path("first/config.resolved.toml").read_text(encoding="utf-8")
    assert resolved_toml(load_system("first/config.resolved.toml")) == text


def test_bytes_do_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    """Two processes of one hash seed and one of another write the same directory, figures and saturation included."""
    code = "import sys; from archsim.cli import main; sys.exit(main())"
    command = ("compare", "h100-sxm8", "m4-max", "--model", MODEL.name, "--limit", "6", "--slo", "30 ms")
    for number, seed in enumerate(("0", "0", "4242")):
        done = subprocess.run(
            [sys.executable, "-c", code, *command, "--out", f"run{number}"],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": SOURCE, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert {"comparison.json", "ledger.svg", "bandwidth.svg", "latency.svg"} < files_of(tmp_path / "run0")
    for number in (1, 2):
        assert_same_bytes(tmp_path / "run0", tmp_path / f"run{number}")


def test_results_follow_their_published_schema(trace: Trace) -> None:
    """A replay, a replay with saturation and a step are what `archsim schema` says; so is what Python gives back."""
    validator = jsonschema.Draft202012Validator(json.loads(schema_json()))
    texts = [*evaluated(load_system("h100-sxm8"), trace), replayed("m4-max", trace).to_json()]
    for text in texts:
        validator.validate(json.loads(text))
        assert Result.from_json(text).to_json() == text


def test_python_and_the_command_line_give_the_same_result(capsys: pytest.CaptureFixture[str]) -> None:
    """`run --json` prints what `archsim.run` returns."""
    assert cli.main(["run", "h100-sxm8", "--model", MODEL.name, "--trace", "azure-conv", "--limit", "5", "--json"]) == 0
    result = archsim.run(load_system("h100-sxm8"), MODEL, trace=load_trace("azure-conv", limit=5))
    assert capsys.readouterr().out == result.to_json()
