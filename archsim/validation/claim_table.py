"""Published claims of speed, one row each, with who said so: what makers, operators and testers state, not calibration.

A claim is a rate of tokens for one user, or of a whole machine. How it was measured is rarely said in full; what we
take it to be (context, layout, number of chips) stands in the row, and so do the settings that nobody publishes and
that would have to move if the claim holds.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CLAIMS", "Claim"]

_AA = "Artificial Analysis, table of September 2024 as quoted by sambanova.ai"
_CPP = "llama.cpp discussion 4167, LLaMA-7B F16, 128 tokens"


@dataclass(frozen=True, slots=True)
class Claim:
    """One published figure and what it is taken to mean."""

    system: str
    model: str
    tokens_per_s: float
    """Of one user, or of all where `whole`."""
    source: str
    precision: str
    context: int
    batch: int = 1
    whole: bool = False
    """The figure is that of the whole machine, not of one user."""
    overrides: tuple[str, ...] = ()
    parallel: str | None = None
    movable: tuple[str, ...] = ()
    """Settings that would have to move, the likeliest first."""

    @property
    def name(self) -> str:
        """What reports call it."""
        rate = "machine" if self.whole else "user"
        chips = "".join(f" {text.partition('=')[2]} chips" for text in self.overrides if text.startswith("chips="))
        return f"{self.system}{chips} {self.model} {self.precision} batch {self.batch}, tokens/s of the {rate}"


_APPLE = ("chip.bytes_in_flight", "chip.memory.lpddr.pin_rate", "runtime.host_step", "runtime.ramp")
_GROQ = ("network.link_latency", "chip.memory.sram.pin_rate")
_CEREBRAS = ("network.link_latency", "chip.memory.sram.pin_rate")
_SN40L = ("chip.memory.hbm.pin_rate", "network.link_latency")
_CORSAIR = ("network.outer_latency", "network.link_latency", "chip.memory.sram.pin_rate")
_WSE_4 = ("chips=128", "network.shape=[16, 8, 2, 2]")
_GROQ_70B, _GROQ_8B = "tp=32,pp=18", "tp=32,pp=16"

CLAIMS: tuple[Claim, ...] = (
    Claim("groq-576", "llama-2-70b", 300, "Groq, February 2024, as reported by techpowerup.com; 576 chips from Groq "
          "staff on news.ycombinator.com", "w8a16kv16", 4000, parallel=_GROQ_70B, movable=_GROQ),
    Claim("groq-576", "llama-3.1-70b", 250, _AA, "w8a16kv16", 1000, parallel=_GROQ_70B, movable=_GROQ),
    Claim("cerebras-wse3", "llama-3.1-8b", 1837, _AA, "w16a16kv16", 1000, movable=_CEREBRAS),
    Claim("cerebras-wse3", "llama-3.1-70b", 445, f"{_AA}; four systems from Cerebras", "w16a16kv16", 1000,
          overrides=_WSE_4, parallel="tp=32,pp=4", movable=_CEREBRAS),
    Claim("cerebras-wse3", "llama-3.1-405b", 969, "Cerebras, November 2024, as reported by tomshardware.com; systems "
          "not stated, taken as 28", "w16a16kv16", 1000,
          overrides=("chips=896", "network.shape=[56, 16, 7, 4]"),
          parallel="tp=32,pp=28", movable=_CEREBRAS),
    Claim("sn40l-16", "llama-3.1-8b", 1042, _AA, "w16a16kv16", 1000, movable=_SN40L),
    Claim("sn40l-16", "llama-3.1-70b", 457, _AA, "w16a16kv16", 1000, movable=_SN40L),
    Claim("sn40l-16", "llama-3.1-405b", 129, _AA, "w16a16kv16", 1000, movable=_SN40L),
    Claim("sn40l-16", "deepseek-r1", 198, "SambaNova, abstract at DAC 2025", "w8a16kv16", 1000, movable=_SN40L),
    Claim("corsair-8", "llama-3.1-8b", 60000, "d-Matrix, as reported by 4nownews.com: 1 ms a token; batch from the "
          "rate", "w8a16kv16", 1000, batch=60, whole=True, movable=_CORSAIR),
    Claim("corsair-8", "llama-3.1-70b", 30000, "d-Matrix, as reported by 4nownews.com: 2 ms a token, a rack of 64 "
          "cards; batch from the rate", "w8a16kv16", 1000, batch=60, whole=True, overrides=("chips=64",),
          parallel="tp=64", movable=_CORSAIR),
    Claim("sohu-8", "llama-3.1-70b", 500000, "Etched, 2024, no hardware shipped; batch not stated, taken as 2,048",
          "w8a8kv8", 2100, batch=2048, whole=True, movable=("chip.memory.hbm.pin_rate", "chip.engine.matrix.rate.fp8")),
    Claim("m1-max", "llama-2-7b", 23.03, _CPP, "w16a16kv16", 64, movable=_APPLE),
    Claim("m2-ultra", "llama-2-7b", 41.02, _CPP, "w16a16kv16", 64, movable=_APPLE),
    Claim("m2", "llama-2-7b", 6.72, _CPP, "w16a16kv16", 64, movable=_APPLE),
    Claim("m4-max", "llama-2-7b", 31.64, _CPP, "w16a16kv16", 64, movable=_APPLE),
)  # fmt: skip
"""In the order of the page."""
