"""Bits of weights, activations and KV, and the number type in which the matrix engine multiplies.

Written `w8a16kv8`. Weights in groups that share a scale say so, `w4g128a16kv16` (one 16-bit scale every 128 weights)
or `w4g32s8a16kv16` (one of 8 bits every 32, as MXFP4 has): the scales are read with the weights. Without a `g` no
scale is counted.

W2: all weights take the weight bits, embeddings and output head included. W3: between kernels, activations travel in at
least 16 bits (`stream_bits`): runtimes that multiply in 8 bits quantise at the door of a product and keep residuals,
partial sums and logits wider.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction

from archsim.errors import InputError, Problem
from archsim.workload.model import Model

__all__ = ["Precision", "matrix_dtype"]

_FORM = re.compile(r"w(\d{1,2})(?:g(\d{1,4})(?:s(\d{1,2}))?)?a(\d{1,2})kv(\d{1,2})")
_BITS = {"weights": (2, 3, 4, 5, 6, 8, 16, 32), "activations": (4, 8, 16, 32), "KV": (4, 8, 16, 32)}
_DTYPE_BITS = {"float32": 32, "bfloat16": 16, "float16": 16}
_ENGINE_DTYPES = {32: ("fp32",), 16: ("bf16", "fp16"), 8: ("fp8", "int8"), 4: ("fp4",)}
"""Operand bits -> number types that hold them, the preferred first."""


@dataclass(frozen=True, slots=True)
class Precision:
    """Bits of one weight, one activation and one element of the KV cache."""

    weight_bits: int
    activation_bits: int
    kv_bits: int
    scale_group: int = 0
    """Weights that share one scale; 0: no scales."""
    scale_bits: int = 0

    @classmethod
    def parse(cls, text: str) -> Precision:
        """Return the precision written as *text*; raise `InputError` for anything but the form above."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise _refused(text, "w<bits>a<bits>kv<bits>, such as w8a16kv8 or w4g128a16kv16")
        weights, group, scale, activations, kv = (int(part) if part else 0 for part in match.groups())
        for (what, accepted), bits in zip(_BITS.items(), (weights, activations, kv), strict=True):
            if bits not in accepted:
                raise _refused(text, f"{what} of {', '.join(map(str, accepted))} bits, not {bits}")
        if group and (group < 8 or (match[3] and scale not in {8, 16, 32})):
            raise _refused(text, "a group of at least 8 weights and a scale of 8, 16 or 32 bits")
        return cls(weights, activations, kv, group, (scale or 16) if group else 0)

    @classmethod
    def of_model(cls, model: Model) -> Precision:
        """Return the type in which *model* was published, for weights, activations and KV alike."""
        wanted = "--precision, such as w8a16kv16"
        if model.quantization is not None:
            method = model.quantization
            raise InputError(
                Problem(model.name, "quantization_config", method, f"quantised weights stated by {wanted}")
            )
        bits = _DTYPE_BITS.get(model.dtype or "")
        if bits is None:
            known = ", ".join(_DTYPE_BITS)
            raise InputError(Problem(model.name, "torch_dtype", model.dtype or "", f"one of {known}, or {wanted}"))
        return cls(bits, bits, bits)

    @property
    def stored_weight_bits(self) -> Fraction:
        """Bits of one weight with its share of the scale."""
        if not self.scale_group:
            return Fraction(self.weight_bits)
        return self.weight_bits + Fraction(self.scale_bits, self.scale_group)

    @property
    def stream_bits(self) -> int:
        """Bits of one activation between kernels and on links."""
        return max(16, self.activation_bits)

    def __str__(self) -> str:
        group = f"g{self.scale_group}s{self.scale_bits}" if self.scale_group else ""
        return f"w{self.weight_bits}{group}a{self.activation_bits}kv{self.kv_bits}"


def matrix_dtype(operand_bits: tuple[int, int], dtypes: Collection[str], *, what: str) -> str:
    """Return the number type in which an engine that knows *dtypes* multiplies operands of these bits.

    The wider operand decides: narrow weights are widened on the way in, so `w8a16` multiplies in 16 bits. Raises
    `InputError` naming *what* where the engine has no such type: widening both would be another precision.
    """
    bits = next(size for size in sorted(_ENGINE_DTYPES) if size >= max(operand_bits))
    for dtype in _ENGINE_DTYPES[bits]:
        if dtype in dtypes:
            return dtype
    wanted = " or ".join(_ENGINE_DTYPES[bits])
    raise InputError(
        Problem(
            what,
            "--precision",
            f"{bits}-bit products",
            f"{wanted} on its matrix engine, which has {', '.join(sorted(dtypes))}",
        )
    )


def _refused(text: str, expected: str) -> InputError:
    return InputError(Problem("", "--precision", text, expected))
