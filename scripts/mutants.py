"""The mutants of a module: mutmut's operators on every place of its source that does something.

A mutant is the source with one small mistake. Places where a mistake cannot change what the program does, or where
only a person could see it, are left out: annotations, decorators, docstrings, imports, `__all__`, `cast`, the texts of
errors, and `strict=` of `zip`, an assertion. Of mutmut's operators, those that put None in the place of a value are
left out too: nearly all of them die of a TypeError and would flatter the score. Added is one that drops a statement
made for its effect.
"""

from __future__ import annotations

import difflib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import libcst as cst
import libcst.matchers as m
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider
from mutmut.mutation import mutators

__all__ = ["Mutant", "mutants_of"]

_KINDS = {
    "operator_number": "number",
    "operator_swap_op": "operator",
    "operator_augmented_assignment": "operator",
    "operator_remove_unary_ops": "operator",
    "operator_keywords": "keyword",
    "operator_name": "keyword",
    "operator_if_exp": "branch",
    "operator_match": "branch",
    "operator_arg_removal": "argument",
    "operator_dict_arguments": "argument",
    "operator_lambda": "lambda",
    "operator_string": "string",
    "operator_symmetric_string_methods_swap": "string",
    "operator_unsymmetrical_string_methods_swap": "string",
}
"""mutmut's operator -> the kind it is counted as."""

_LEFT_OUT = (
    m.Annotation()
    | m.Decorator()
    | m.Import()
    | m.ImportFrom()
    | m.Raise(exc=m.Call())
    | m.Assign(targets=[m.AssignTarget(m.Name("__all__"))])
    | m.Call(func=m.Name("cast") | m.Name("TypeVar") | m.Name("Problem"))
    | m.Call(func=m.Name("InputError") | m.Name("SimulationError"))
    | m.Assign(targets=[m.AssignTarget(m.Name("expected"))])
    | m.Arg(keyword=m.Name("strict"))
    | m.Expr(m.SimpleString() | m.ConcatenatedString())
    | m.SimpleStatementLine([m.Assign([m.AssignTarget(m.Name(m.MatchRegex(r"[A-Z][a-z]\w*")))])])  # names a type
)
"""What no mutant is made of."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module's source with one mistake."""

    name: str
    """`line:column kind number`, the same in every run on the same source."""
    kind: str
    lines: tuple[int, int]
    """Those of its statement, without a body: a test that runs one of them may notice."""
    module: cst.Module
    node: cst.CSTNode
    other: cst.CSTNode

    def source(self) -> str:
        """Return the module with *other* in the place of *node*."""
        changed = self.module.deep_replace(self.node, self.other)
        return cst.ensure_type(changed, cst.Module).code

    def diff(self) -> str:
        """Return what differs from the module, with a line around it."""
        lines = difflib.unified_diff(self.module.code.splitlines(), self.source().splitlines(), lineterm="", n=1)
        return "\n".join(line for line in lines if not line.startswith(("---", "+++")))


class _Places(cst.CSTVisitor):
    """Collects every (node, other node, kind, place, lines of its statement) of a module."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[cst.CSTNode, cst.CSTNode, str, CodeRange, tuple[int, int]]] = []
        self._statements: list[tuple[int, int]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        at = self.get_metadata(PositionProvider, node, None)
        if isinstance(node, cst.BaseStatement) and isinstance(at, CodeRange):
            self._statements.append((at.start.line, self._header_end(node, at)))
        if m.matches(node, _LEFT_OUT):
            return False
        if isinstance(at, CodeRange) and self._statements:
            lines = min(at.start.line, self._statements[-1][0]), max(self._statements[-1])
            self.found += [(node, other, kind, at, lines) for other, kind in _others(node)]
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, cst.BaseStatement):
            self._statements.pop()

    def _header_end(self, node: cst.BaseStatement, at: CodeRange) -> int:
        """Return the last line of a simple statement, or the one before the body of another."""
        if not isinstance(node, cst.BaseCompoundStatement):
            return at.end.line
        body = self.get_metadata(PositionProvider, node.body, None)
        return max(body.start.line - 1, at.start.line) if isinstance(body, CodeRange) else at.start.line


def _others(node: cst.CSTNode) -> Iterator[tuple[cst.CSTNode, str]]:
    for of_type, operator in mutators.mutation_operators:
        kind = _KINDS.get(operator.__name__)
        if kind is None or not isinstance(node, of_type):
            continue
        made: Iterable[cst.CSTNode] = operator(node)
        if kind == "argument" and isinstance(node, cst.Call):
            made = (other for other in made if isinstance(other, cst.Call) and _drops_keyword(node, other))
        elif kind == "string":
            made = itertools.islice(made, 1)  # the others differ from the first in the case of their letters
        yield from ((other, kind) for other in made)
    if m.matches(node, m.Expr(m.Call())):
        yield cst.Expr(cst.Ellipsis()), "statement"


def _drops_keyword(call: cst.Call, other: cst.Call) -> bool:
    """Return whether *other* lacks a named argument of *call*, `strict` apart, and is else the same."""
    gone = [arg for arg in call.args if not any(arg is kept for kept in other.args)]
    if len(other.args) == len(call.args) or len(gone) != 1:
        return False
    return gone[0].keyword is not None and gone[0].keyword.value != "strict"


def mutants_of(source: str) -> list[Mutant]:
    """Return all mutants of a module's *source*, in the order of their places."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    places = _Places()
    wrapper.visit(places)
    counts: Counter[str] = Counter()
    mutants = []
    for node, other, kind, at, lines in sorted(
        places.found, key=lambda each: (each[3].start.line, each[3].start.column)
    ):
        place = f"{at.start.line}:{at.start.column} {kind}"
        counts[place] += 1
        mutants.append(Mutant(f"{place} {counts[place]}", kind, lines, wrapper.module, node, other))
    return mutants
