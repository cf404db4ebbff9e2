"""Models by the names that references give them.

A reference's name may have an owner before it and endings behind it that change nothing here: a tuning (`-Instruct`),
a date, or a precision, which the row states in a column of its own. Some models differ from a bundled one in context,
vocabulary or training alone, and are taken as that one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from archsim.errors import InputError, Problem
from archsim.workload.model import Model, load_model

__all__ = ["model_named"]

_ENDING = re.compile(
    r"[-_](?:instruct|chat|hf|base|it|preview|fp8|fp4|nvfp4|mxfp4|bf16|fp16|int4|int8|awq|gptq|dynamic|quantized|block"
    r"|w\d+a\d+|\d{4}|v\d+(?:\.\d+)?)$"
)
_SAME: dict[str, str] = {
    "llama-7b": "llama-2-7b",
    "llama-13b": "llama-2-13b",
    "llama-3-8b": "llama-3.1-8b",
    "meta-llama-3-8b": "llama-3.1-8b",
    "llama-3-70b": "llama-3.1-70b",
    "meta-llama-3-70b": "llama-3.1-70b",
    "meta-llama-3.1-8b": "llama-3.1-8b",
    "meta-llama-3.1-70b": "llama-3.1-70b",
    "meta-llama-3.1-405b": "llama-3.1-405b",
    "llama-3.3-70b": "llama-3.1-70b",
    "llama-2-70b-chat": "llama-2-70b",
    "gpt-3-175b": "gpt3-175b",
    "mistral-7b": "mistral-7b-v0.1",
    "mistral-7b-instruct-v0.2": "mistral-7b-v0.3",
    "qwen2-7b": "qwen2.5-7b",
    "qwen2-72b": "qwen2.5-72b",
    "deepseek-v3/r1": "deepseek-v3",
    "deepseek-v3.1": "deepseek-v3",
    "deepseek-r1-671b": "deepseek-r1",
    "phi-3-medium": "phi-3-medium-4k",
    "phi-3-mini": "phi-3-mini-4k",
    "kimi-k2-instruct": "kimi-k2",
}
"""Models of references -> bundled ones of the same shapes: they differ in context or vocabulary alone."""


def model_named(words: str) -> Model:
    """Return the model that a reference calls *words*. Raises `InputError` for one that is not known."""
    for name in _spellings(words):
        try:
            return load_model(name)
        except InputError:
            continue
    raise InputError(Problem("", "model", words, "a bundled model (`archsim list models`), however it is spelt"))


def _spellings(words: str) -> Iterator[str]:
    """Yield names to look up, the nearest to *words* first."""
    plain = re.sub(r"(,|\s\().*$", "", words).strip()
    yield plain
    for whole in (plain, plain.rpartition("/")[2]):
        name = re.sub(r"\bllama(?=\d)", "llama-", re.sub(r"[\s_]+", "-", whole.casefold()))
        yield _SAME.get(name, name)
        while (shorter := _ENDING.sub("", name)) != name:
            name = shorter
            yield _SAME.get(name, name)
