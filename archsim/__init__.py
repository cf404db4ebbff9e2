"""archsim: where an accelerator's memory bandwidth goes when it decodes real LLM traffic.

The names below are all that a Python user needs; each is loaded when it is first asked for (PEP 562), because
`archsim --help` must not pay for numpy. A module of archsim never imports this one.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archsim.result import Result
    from archsim.run import ClosedLoop, evaluate_step, load_model, load_system, load_trace, run

__all__ = ["ClosedLoop", "Result", "evaluate_step", "load_model", "load_system", "load_trace", "run"]

_HOMES = {
    "ClosedLoop": ("archsim.run", "ClosedLoop"),
    "Result": ("archsim.result", "Result"),
    "evaluate_step": ("archsim.run", "evaluate_step"),
    "load_model": ("archsim.run", "load_model"),
    "load_system": ("archsim.run", "load_system"),
    "load_trace": ("archsim.run", "load_trace"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(types.ModuleType):
    """Keeps `archsim.run` the function: importing the module `archsim.run` would put the module in its place."""

    @property
    def run(self) -> Any:
        return importlib.import_module("archsim.run").run

    @run.setter
    def run(self, module: types.ModuleType) -> None:
        """Ignore what the import system assigns after it has loaded the module of that name."""


sys.modules[__name__].__class__ = _Package
