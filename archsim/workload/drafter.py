"""Models that guess for a larger one: a draft model of its own, or a head of one layer on the larger one's states.

S3: an EAGLE head is one dense layer of the model's width and attention (Li et al., ICML 2024; EAGLE-3, 2025); an MTP
module is one layer of the model's last kind (DeepSeek-V3, arXiv 2412.19437). Both use the model's own embedding and
output head, which every pass reads; the projection that joins their two inputs is left out. Looking up n-grams costs
nothing.
"""

from __future__ import annotations

from dataclasses import replace

from archsim.workload.model import Model, load_model

__all__ = ["METHODS", "drafter_of"]

METHODS = ("draft", "eagle", "mtp", "ngram")
"""What guesses: a model, a head, a module, or the context itself."""


def drafter_of(method: str, target: Model, model: str | None) -> Model | None:
    """Return what guesses by *method* for *target*; None where nothing is computed."""
    if method == "draft":
        return load_model(model or "")
    if method == "ngram":
        return None
    plain = replace(target, name=f"{target.name}-{method}", layers=1, dense_layers=0, windowed=(), window=0, exits=())
    if method == "mtp" or not target.experts:
        return plain
    width = target.dense_intermediate or target.experts_per_token * target.intermediate + target.shared_intermediate
    return replace(plain, experts=0, experts_per_token=0, shared_intermediate=0, intermediate=width)
