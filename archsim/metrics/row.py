"""What all rows of a result have in common: frozen data that refuses unknown keys, NaN and infinity."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

__all__ = ["Count", "NonNegative", "Row"]

Count = Annotated[int, Field(ge=0)]
NonNegative = Annotated[FiniteFloat, Field(ge=0)]


class Row(BaseModel):
    """A row, written as JSON under the names of its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_by_name=True)
