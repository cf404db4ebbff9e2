"""What all specs have in common: frozen data that refuses unknown keys, and errors that name a key."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

__all__ = ["Spec", "refusal"]


def refusal(key: str, value: object, expected: str) -> PydanticCustomError:
    """Return an error that `archsim.hardware.door` turns into a problem at *key* of the model being checked."""
    return PydanticCustomError(
        "archsim", "{key}: expected {expected}", {"key": key, "value": str(value), "expected": expected}
    )


class Spec(BaseModel):
    """Frozen data that refuses a key it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
