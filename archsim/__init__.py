"""archsim: where an accelerator's memory bandwidth goes when it decodes real LLM traffic.

The names below are all that a Python user needs; each is loaded when it is first asked for (PEP 562), because
`archsim --help` must not pay for numpy. A module of archsim never imports this one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archsim.result import Result
    from archsim.simulate import ClosedLoop, evaluate_step, load_model, load_system, load_trace, run

__all__ = ["ClosedLoop", "Result", "evaluate_step", "load_model", "load_system", "load_trace", "run"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("archsim.result" if name == "Result" else "archsim.simulate"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
