"""Bits of weights, activations and KV, and the number type in which the matrix engine multiplies.

Written `w8a16kv8`. What is stored in groups that share a scale says so, `w4g128a16kv16` (one 16-bit scale every 128
weights) or `w4g32s8a16kv4g64` (one of 8 bits every 32 weights, and one of 16 every 64 elements of the cache): scales
are read with what they scale. Without a `g` no scale is counted. `wmxfp4` is `w4g32s8`, `wnvfp4` is `w4g16s8`. Routed
experts may be stored otherwise than the rest, `w16emxfp4a16kv16`, as gpt-oss is. `w8x2of4` keeps 2 of every 4 weights
and an index of 2 bits with each; `w16x50` keeps 50 % of them wherever they lie, and a bit for every place.

W2: all weights take the weight bits, embeddings and output head included. W3: between kernels, activations travel in at
least 16 bits (`stream_bits`): runtimes that multiply in 8 bits quantise at the door of a product and keep residuals,
partial sums and logits wider. W13: engines skip the zeros of an n-of-m pattern; other zeros are filled in again before
a product, which saves bytes and no arithmetic.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction

from archsim.errors import InputError, Problem
from archsim.workload.model import Model

__all__ = ["Format", "Precision", "matrix_dtype"]

_STORED = r"(mxfp4|nvfp4|\d{1,2}(?:g\d{1,5}(?:s\d{1,2})?)?)"
_SPARSE = r"(?:x(\d{1,2}of\d{1,2}|\d{1,2}))?"
_FORM = re.compile(rf"w{_STORED}{_SPARSE}(?:e{_STORED})?a(\d{{1,2}})kv{_STORED}")
_PLAIN = re.compile(r"(\d{1,2})(?:g(\d{1,5})(?:s(\d{1,2}))?)?")
_NAMED = {"mxfp4": "4g32s8", "nvfp4": "4g16s8"}
"""OCP microscaling formats 1.0 and NVIDIA's; the one scale a tensor of NVFP4 is not counted."""
_BITS = {"weights": (2, 3, 4, 5, 6, 8, 16, 32), "activations": (4, 8, 16, 32), "KV": (2, 3, 4, 8, 16, 32)}
_PERCENT = 100
_WIDEST_PATTERN = 32
_DTYPE_BITS = {"float32": 32, "bfloat16": 16, "float16": 16}
_ENGINE_DTYPES = {32: ("fp32",), 16: ("bf16", "fp16"), 8: ("fp8", "int8"), 4: ("fp4",)}
"""Operand bits -> number types that hold them, the preferred first."""
_PUBLISHED = {"mxfp4": "w16emxfp4a16kv16"}
"""Method of a checkpoint whose quantised parts are known -> what it is stored in."""


@dataclass(frozen=True, slots=True)
class Format:
    """How one kind of tensor is stored."""

    bits: int
    """Of one element that is kept."""
    group: int = 0
    """Elements that share one scale; 0: no scales."""
    scale_bits: int = 0
    kept: tuple[int, int] = (1, 1)
    """(n, m): n of every m elements are kept; of a hundred where they lie anywhere."""
    index_bits: Fraction = Fraction(0)
    """Of the places of what is kept, for each element kept or not."""

    @property
    def stored_bits(self) -> Fraction:
        """Bits of one element of the unpruned tensor, with its share of scale and index."""
        scale = Fraction(self.scale_bits, self.group) if self.group else Fraction(0)
        return Fraction(*self.kept) * (self.bits + scale) + self.index_bits

    @property
    def structured(self) -> bool:
        """Whether an engine can skip what is not kept (W13)."""
        return self.kept != (1, 1) and self.kept[1] != _PERCENT

    @property
    def flops_share(self) -> Fraction:
        """FLOPs of a product with the tensor over those with the unpruned one."""
        return Fraction(*self.kept) if self.structured else Fraction(1)

    def widened(self, activation_bits: int) -> bool:
        """Return whether elements are changed on their way into a product."""
        return self.bits < activation_bits or (self.kept != (1, 1) and not self.structured)

    def __str__(self) -> str:
        group = f"g{self.group}s{self.scale_bits}" if self.group else ""
        if self.kept == (1, 1):
            return f"{self.bits}{group}"
        return f"{self.bits}{group}x" + (f"{self.kept[0]}of{self.kept[1]}" if self.structured else f"{self.kept[0]}")


@dataclass(frozen=True, slots=True)
class Precision:
    """How weights, activations and the KV cache are stored."""

    weights: Format
    activation_bits: int
    kv: Format
    routed: Format | None = None
    """Routed experts; None: as the other weights."""

    @classmethod
    def parse(cls, text: str) -> Precision:
        """Return the precision written as *text*; raise `InputError` for anything but the form above."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise _refused(text, "w<bits>a<bits>kv<bits>, such as w8a16kv8, w4g128a16kv16 or wmxfp4a8kv8")
        weights, sparse, routed, activations, kv = match.groups()
        if int(activations) not in _BITS["activations"]:
            raise _refused(text, f"activations of {_listed('activations')} bits, not {activations}")
        return cls(
            _format(text, "weights", weights, sparse or ""),
            int(activations),
            _format(text, "KV", kv),
            _format(text, "weights", routed, sparse or "") if routed else None,
        )

    @classmethod
    def of_model(cls, model: Model) -> Precision:
        """Return the type in which *model* was published, for weights, activations and KV alike."""
        wanted = "--precision, such as w8a16kv16"
        if model.quantization in _PUBLISHED:
            return cls.parse(_PUBLISHED[model.quantization])
        if model.quantization is not None:
            method = model.quantization
            raise InputError(
                Problem(model.name, "quantization_config", method, f"quantised weights stated by {wanted}")
            )
        bits = _DTYPE_BITS.get(model.dtype or "")
        if bits is None:
            known = ", ".join(_DTYPE_BITS)
            raise InputError(Problem(model.name, "torch_dtype", model.dtype or "", f"one of {known}, or {wanted}"))
        return cls(Format(bits), bits, Format(bits))

    @property
    def experts(self) -> Format:
        """How routed experts are stored."""
        return self.routed or self.weights

    @property
    def stored_weight_bits(self) -> Fraction:
        """Bits of one weight with its share of the scale."""
        return self.weights.stored_bits

    @property
    def stream_bits(self) -> int:
        """Bits of one activation between kernels and on links."""
        return max(16, self.activation_bits)

    def __str__(self) -> str:
        return f"w{self.weights}{self._written_experts}a{self.activation_bits}kv{self.kv}"

    @property
    def _written_experts(self) -> str:
        """The experts' own format, without the sparsity that stands at the weights."""
        if self.routed is None:
            return ""
        return "e" + str(Format(self.routed.bits, self.routed.group, self.routed.scale_bits))


def _format(text: str, what: str, stored: str, sparse: str = "") -> Format:
    match = _PLAIN.fullmatch(_NAMED.get(stored, stored))
    if match is None:
        raise _refused(text, "bits, a group and its scale, such as 4g32s8")
    bits, group, scale = (int(part) if part else 0 for part in match.groups())
    if bits not in _BITS[what]:
        raise _refused(text, f"{what} of {_listed(what)} bits, not {bits}")
    if group and (group < 8 or (match[3] and scale not in {8, 16, 32})):
        raise _refused(text, "a group of at least 8 weights and a scale of 8, 16 or 32 bits")
    kept, total = (int(part) for part in sparse.split("of")) if "of" in sparse else (int(sparse or 0), _PERCENT)
    if not sparse:
        return Format(bits, group, (scale or 16) if group else 0)
    if not 0 < kept < total or (total != _PERCENT and total > _WIDEST_PATTERN):
        raise _refused(text, f"n of m weights with n below m, m at most {_WIDEST_PATTERN}, or 1 to 99 per cent")
    # Of a pattern the place of each kept element among m; else a bit that says for every place whether it is kept.
    index = Fraction(kept * (total - 1).bit_length(), total) if "of" in sparse else Fraction(1)
    return Format(bits, group, (scale or 16) if group else 0, (kept, total), index)


def _listed(what: str) -> str:
    return ", ".join(map(str, _BITS[what]))


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
