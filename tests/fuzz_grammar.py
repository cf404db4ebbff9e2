"""Files that are well formed, and mostly valid: drawn by Hypothesis from the grammar of each format.

An example is parsed into a tree. A mild edit gives a key a value that the same key has elsewhere, another subtree of
that name, or a number some times as large; a wild one drops or renames keys, or puts there what nobody expects. Then it
is written again in its own format, with the digests that a store or a checkpoint needs: what refuses it has read it.
`cases` composes whole systems with a model and a trace.
"""

from __future__ import annotations

import copy
import json
import random
import re
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import fuzz_forms
from fuzzing import Target, packed_parts
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from archsim.files import bundled_names, bundled_path

__all__ = ["drawn_inputs_of", "strategy_of"]

Edit = Callable[[st.DrawFn, Any, "_Words"], None]
_Words = dict[str, list[Any]]
"""Key -> values that it has somewhere."""

_NUMBER = re.compile(r"(?<![\w.])\d{1,15}(?:\.\d{1,15})?(?![\w.])")
_HOSTILE: tuple[Any, ...] = (
    0, -1, 1, 2**31, 2**63, 2**64, 10**70, 0.0, -0.0, 1e308, 5e-324, 1e-9, float("nan"), float("inf"), True, False,
    "", " ", "0", "-1", "0 GB/s", "1 fs", "1e30 TB/s", "999999 h", "nan", "\x00", "\x07\x1b[31mred\x1b[0m", "\x9b2J",
    "<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", '" onload="x', "=SUM(A1)", "@x", "../../x",
    "/etc/passwd", "\\\\host\\share", "C:\\x", "%s%n", "é" * 300, "𝕏" * 70, "\u202egnp", "\ud800", "x" * 5000,
    [], {}, [[]], [0], ["a", 1], {"a": {"a": {}}}, [{}] * 50,
)  # fmt: skip
"""What stands in a file where something else is expected."""


def _nodes(tree: Any, name: str = "") -> Iterator[tuple[Any, Any, str]]:
    """Yield (container, key, nearest name) of everything below *tree*."""
    pending = [(tree, name)]
    while pending:
        inside, above = pending.pop()
        items = inside.items() if isinstance(inside, dict) else enumerate(inside) if isinstance(inside, list) else ()
        for key, value in items:
            called = key if isinstance(key, str) else above
            yield inside, key, called
            if isinstance(value, dict | list):
                pending.append((value, called))


def _words_of(trees: list[Any]) -> _Words:
    found: dict[str, dict[str, Any]] = {}
    for tree in trees:
        for inside, key, name in _nodes(tree):
            known = found.setdefault(name, {})
            if len(known) < 60:
                known.setdefault(repr(inside[key]), inside[key])
    return {name: list(values.values()) for name, values in found.items()}


def _node(draw: st.DrawFn, tree: Any, *, numeric: bool = False) -> tuple[Any, Any, str] | None:
    nodes = [node for node in _nodes(tree) if not numeric or _has_number(node[0][node[1]])]
    return nodes[draw(st.integers(0, len(nodes) - 1))] if nodes else None


def _has_number(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) < 100 and _NUMBER.search(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def _another(draw: st.DrawFn, tree: Any, words: _Words) -> None:
    """Give a key what it has elsewhere."""
    node = _node(draw, tree)
    if node is not None and node[2] in words:
        node[0][node[1]] = copy.deepcopy(draw(st.sampled_from(words[node[2]])))


def _times(draw: st.DrawFn, tree: Any, factor: float) -> None:
    node = _node(draw, tree, numeric=True)
    if node is None:
        return
    value = node[0][node[1]]
    if isinstance(value, str):
        node[0][node[1]] = _NUMBER.sub(lambda found: f"{float(found[0]) * factor:.6g}", value, count=1)
    else:
        node[0][node[1]] = type(value)(value * factor) if abs(value) < 1e300 else value


def _scaled(draw: st.DrawFn, tree: Any, _words: _Words) -> None:
    """Multiply a number by a little."""
    _times(draw, tree, draw(st.sampled_from((0.25, 0.5, 0.75, 1.5, 2, 3, 4))))


def _scaled_far(draw: st.DrawFn, tree: Any, _words: _Words) -> None:
    _times(draw, tree, draw(st.sampled_from((-1, 0, 1e-12, 1e-6, 1e-3, 10, 1e3, 1e6, 1e12))))


def _items_changed(draw: st.DrawFn, tree: Any, _words: _Words) -> None:
    """Repeat, drop or move an item of a list."""
    lists = [inside[key] for inside, key, _ in _nodes({"": tree}) if isinstance(inside[key], list) and inside[key]]
    if not lists:
        return
    items = lists[draw(st.integers(0, len(lists) - 1))]
    at = draw(st.integers(0, len(items) - 1))
    way = draw(st.sampled_from(("repeat", "drop", "move")))
    if way == "repeat":
        items[at:at] = [copy.deepcopy(items[at]) for _ in range(draw(st.sampled_from((1, 1, 3, 40))))]
    elif way == "drop":
        del items[at]
    else:
        items.insert(draw(st.integers(0, len(items) - 1)), items.pop(at))


def _dropped(draw: st.DrawFn, tree: Any, _words: _Words) -> None:
    node = _node(draw, tree)
    if node is not None:
        del node[0][node[1]]


def _renamed(draw: st.DrawFn, tree: Any, words: _Words) -> None:
    node = _node(draw, tree)
    if node is not None and isinstance(node[0], dict):
        name = draw(st.one_of(st.sampled_from(sorted(words)), st.sampled_from(_HOSTILE).map(str), st.text(max_size=9)))
        node[0][name] = node[0].pop(node[1])


def _unexpected(draw: st.DrawFn, tree: Any, _words: _Words) -> None:
    node = _node(draw, tree)
    if node is not None:
        anything = st.one_of(st.sampled_from(_HOSTILE), st.text(max_size=20), st.integers(), st.floats())
        node[0][node[1]] = copy.deepcopy(draw(anything))


_MILD: tuple[Edit, ...] = (_another, _another, _another, _scaled, _scaled, _items_changed)
_WILD: tuple[Edit, ...] = (*_MILD[2:], _scaled_far, _dropped, _renamed, _unexpected, _unexpected)


@st.composite
def _edited(draw: st.DrawFn, form: fuzz_forms.Form, trees: list[Any], words: _Words) -> bytes:
    tree = copy.deepcopy(draw(st.sampled_from(trees)))
    edits = _WILD if draw(st.integers(0, 2)) == 0 else _MILD
    for _ in range(draw(st.sampled_from((1, 1, 2, 3, 5)))):
        draw(st.sampled_from(edits))(draw, tree, words)
    try:
        return form.written(tree)
    except Exception:  # noqa: BLE001  # an edit that the format cannot say
        return repr(tree).encode("utf-8", "replace")


@st.composite
def _spliced(draw: st.DrawFn, examples: list[bytes]) -> bytes:
    """Draw pieces of examples, and bytes of any kind between them: for formats that are not trees."""
    pieces = []
    for _ in range(draw(st.integers(1, 4))):
        example = draw(st.sampled_from(examples))
        first, last = sorted((draw(st.integers(0, len(example))), draw(st.integers(0, len(example)))))
        pieces += [example[first:last], draw(st.binary(max_size=8))]
    return b"".join(pieces)


def strategy_of(target: Target) -> st.SearchStrategy[bytes]:
    """Return what draws inputs of *target*."""
    if target.form == "parts":
        return cases()
    if not target.form:
        return _spliced(target.examples())
    form = fuzz_forms.FORMS[target.form]
    trees = [tree for example in target.examples() if (tree := form.parsed(example)) is not None]
    return _edited(form, trees, _words_of(trees))


def drawn_inputs_of(target: Target, number: int, count: int) -> list[bytes]:
    """Return *count* inputs drawn by Hypothesis, the same for the same *number*; fewer where there are no more."""
    found: list[bytes] = []

    @seed(number)
    @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(content=strategy_of(target))
    def keep(content: bytes) -> None:
        found.append(content)

    state = random.getstate()
    keep()
    random.setstate(state)
    return found


@cache
def _networks() -> list[dict[str, Any]]:
    """Return what every bundled system says of its chips' number and its network."""
    paths = sorted((bundled_path("hwconfigs") / "systems").glob("*.toml"))
    found = [tomllib.loads(path.read_text(encoding="utf-8")) for path in paths]
    return [{"chips": one["chips"], "network": one["network"]} for one in found if one.get("chips", 0) <= 72]


@cache
def _named(folder: str) -> list[str]:
    return bundled_names("hwconfigs", folder, (".toml",))


@st.composite
def _systems(draw: st.DrawFn) -> bytes:
    """Draw a system of bundled parts that nobody has put together."""
    system = {
        "kind": "system", "name": "s", "title": "t", "status": "hypothetical",
        "chip": draw(st.sampled_from(_named("chips"))), "runtime": draw(st.sampled_from(_named("runtimes"))),
        **copy.deepcopy(draw(st.sampled_from(_networks()))),
    }  # fmt: skip
    words = _words_of(_networks())
    for _ in range(draw(st.integers(0, 2))):
        draw(st.sampled_from((_another, _scaled)))(draw, system["network"], words)
    return fuzz_forms.FORMS["toml"].written(system)


@st.composite
def _models(draw: st.DrawFn) -> bytes:
    """Draw the config.json of a decoder, some with experts."""
    kv_heads, group = draw(st.sampled_from((1, 2, 4, 8))), draw(st.sampled_from((1, 2, 4, 8)))
    config: dict[str, Any] = {
        "model_type": draw(st.sampled_from(("llama", "mistral", "qwen2", "qwen3"))),
        "hidden_size": 64 * draw(st.integers(1, 128)),
        "intermediate_size": 128 * draw(st.integers(1, 128)),
        "num_hidden_layers": draw(st.sampled_from((1, 2, 3, 8, 32, 80))),
        "num_attention_heads": kv_heads * group,
        "num_key_value_heads": kv_heads,
        "head_dim": draw(st.sampled_from((32, 64, 96, 128, 256))),
        "vocab_size": draw(st.integers(100, 300_000)),
        "max_position_embeddings": draw(st.sampled_from((512, 8192, 131_072))),
        "torch_dtype": "bfloat16",
        "tie_word_embeddings": draw(st.booleans()),
    }
    if draw(st.integers(0, 2)) == 0:
        experts = draw(st.sampled_from((2, 4, 8, 64)))
        chosen = draw(st.integers(1, min(8, experts)))
        config |= {"model_type": "mixtral", "num_local_experts": experts, "num_experts_per_tok": chosen}
    return json.dumps(config).encode()


@st.composite
def _traces(draw: st.DrawFn) -> bytes:
    tokens = st.one_of(st.integers(1, 64), st.integers(1, 3000))
    sizes = st.tuples(st.integers(0, 50), tokens, st.one_of(st.integers(1, 8), st.integers(1, 120)))
    rows = sorted(draw(st.lists(sizes, min_size=1, max_size=12)))
    lines = "".join(f"{arrival / 10},{prompt},{output}\n" for arrival, prompt, output in rows)
    return f"arrival_s,prompt_tokens,output_tokens\n{lines}".encode()


@st.composite
def cases(draw: st.DrawFn) -> bytes:
    """Draw a system, a model and a trace, as parts of one content."""
    parts = {"input.toml": draw(_systems()), "config.json": draw(_models()), "trace.csv": draw(_traces())}
    return packed_parts(parts)
