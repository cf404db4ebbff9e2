"""Times that a paper fitted to its measurements: rows of `..., phase, engine, coef_a_ms, coef_b_ms_per_token, coef_c`.

A row is a formula of the time of an iteration (DistServe, OSDI 2024): of a prefill, `a + b total + c sum of squares`
of the prompts' tokens; of decode, `a + b total context + c batch`, one for batches below a threshold and one above.
The formula is evaluated at stated points, which stand for the measurements that are not published, and each point is a
row here: one prompt of 256 to 2,048 tokens, and batches on either side of the threshold at 256 to 1,024 tokens a
sequence. Where the fit gives no time above zero, or the cache does not hold the batch, the point is skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from archsim.errors import ArchsimError, CapacityError
from archsim.validation.machines import Request, machine, precision_of
from archsim.validation.network import Row, row
from archsim.validation.table import Record, number, whole

__all__ = ["COLUMNS", "fitted_rows"]

COLUMNS = ("system", "chips", "model", "precision", "phase", "engine", "coef_a_ms", "coef_b_ms_per_token", "coef_c",
           "batch_threshold")  # fmt: skip
_PROMPTS = (256, 512, 1024, 2048)
_CONTEXTS = (256, 1024)
_BATCHES = {"decoding_smallbs": (1, 16, 64), "decoding_largebs": (128, 192)}
_RUNTIMES = {"vllm": "eager-2023", "distserve": "trtllm-2024"}
"""vLLM of early 2024 issues every operator from Python; DistServe's own engine (SwiftTransformer) is C++, whose host
is taken as that of the C++ engine of the same year."""
_SKIPPED = "no time above zero at this point of the fit"
_TOO_MANY = "the chips do not hold so many sequences: no measurement can lie at this point of the fit"


def fitted_rows(records: Iterable[Record], settings: tuple[str, ...]) -> Iterator[Row]:
    """Yield one row a point of every fit."""
    for record in records:
        for batch, tokens in _points(record):
            expected, prompts = _fitted_ms(record, batch, tokens), record["phase"] == "prefill"
            predicted, reason = _predict_ms(record, batch, tokens, settings)
            if expected is not None and expected <= 0:
                expected, predicted, reason = None, None, _SKIPPED
            what = f"prompt of {tokens}" if prompts else f"batch {batch} context {tokens}"
            name = f"{record['system']} x{record['chips']} {record['model']} {record['precision']} {what}"
            group = f"fitted {record['phase']} {record['engine']}"
            yield row(f"{name} {record['phase']}_ms [{record['engine']}]", group, expected, predicted, reason)


def _points(record: Record) -> list[tuple[int, int]]:
    if record["phase"] == "prefill":
        return [(1, tokens) for tokens in _PROMPTS]
    return [(batch, context) for batch in _BATCHES.get(record["phase"], ()) for context in _CONTEXTS]


def _fitted_ms(record: Record, batch: int, tokens: int) -> float | None:
    a, b, c = (number(record, column) for column in ("coef_a_ms", "coef_b_ms_per_token", "coef_c"))
    if a is None or b is None or c is None:
        return None
    return a + b * batch * tokens + c * (tokens**2 if record["phase"] == "prefill" else batch)


def _predict_ms(record: Record, batch: int, tokens: int, settings: tuple[str, ...]) -> tuple[float | None, str | None]:
    precision, chips = precision_of(record["precision"]), whole(record, "chips")
    runtime = _RUNTIMES.get(record["engine"].casefold())
    if precision is None or not chips or runtime is None:
        return None, "no model of the engine or precision, or chips are not stated"
    try:
        made = machine(Request(record["system"], record["model"], precision, chips, runtime, settings=settings))
        seconds = made.prefill_s(1, tokens) if record["phase"] == "prefill" else made.decode_s(batch, tokens)
    except CapacityError:
        return None, _TOO_MANY
    except ArchsimError as error:
        return None, str(error)
    return seconds * 1e3, None
