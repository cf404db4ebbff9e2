"""Write the answers of the memory floor that archsim ships.

Common phases on the main memory of every bundled chip, and what two steps on every bundled system ask.

Run `python scripts/ship_memory_answers.py` after a change of physics (and raise `archsim.dram.memo.VERSION`). With them
a first run on a bundled system neither simulates nor compiles for these phases. A test recomputes a sample.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, suppress
from itertools import product
from pathlib import Path
from unittest.mock import patch

import archsim.dram
from archsim.dram import sustain as floor
from archsim.dram.blend import EIGHTHS, LONGEST_SHORT
from archsim.dram.facts import Access, Phase
from archsim.dram.memo import VERSION, key_of
from archsim.dram.profile import PROFILES
from archsim.dram.standards import STANDARDS
from archsim.errors import InputError
from archsim.hardware.library import chip_names, load_chip, load_system, system_names
from archsim.simulate import evaluate_step
from archsim.workload.model import load_model

LONG = 2**30
"""A run as long as a matrix."""
SINGLE = (
    *(Access(1, run, write=False) for run in (LONG, LONGEST_SHORT, 2048, 1024)),
    *(Access(1, run, write=True) for run in (LONG, LONGEST_SHORT, 2048, 1024, 512, 256, 128)),
)
MIXED = tuple(product((LONG, LONGEST_SHORT), (LONG, LONGEST_SHORT)))
"""Runs read and written by one kernel: activations that spill beside weights or KV blocks."""
MODELS = ("llama-3.1-8b", "llama-3.1-70b")
STEPS = ((1, 512), (32, 2048))
"""Sequences and context of the steps that bundled systems are asked for."""
PHASES = (
    *((access,) for access in SINGLE),
    *(
        (Access(EIGHTHS - part, read, write=False), Access(part, written, write=True))
        for read, written in MIXED
        for part in range(1, EIGHTHS)
    ),
)


def main() -> None:
    """Compute every answer and write them as one JSON file beside the memory floor."""
    answers: dict[str, dict[str, object]] = {}
    for name in chip_names():
        chip = load_chip(name)
        memory = chip.memory[chip.main_memory]
        if memory.device.standard not in STANDARDS:
            continue
        channel = floor.memory_channel(
            memory.device.standard,
            pin_bits_per_s=memory.pin_bits_per_s,
            channel_bits=memory.channel_bits,
            channels=memory.channels,
            interleave_bytes=memory.interleave_bytes,
            channel_bytes=memory.stack_bytes // memory.channels_per_stack,
        )
        window = max(chip.bytes_in_flight // memory.channels, memory.device.burst_bytes)
        for accesses in PHASES:
            phase = floor.canonical_phase(channel, Phase(accesses, window, memory.round_trip_ps))
            run = floor.run_phase(channel, PROFILES["archsim"], phase)
            key = key_of(floor.question_of(channel, PROFILES["archsim"], phase))
            answers[key] = floor.answer_of(run, phase)
    answers |= asked_by_systems(answers)
    place = Path(archsim.dram.__file__).parent / "answers.json"
    content = json.dumps({"version": VERSION, "answers": answers}, sort_keys=True, indent=0)
    place.write_text(content + "\n", encoding="utf-8")
    print(f"{len(answers)} answers in {place.name}")


def asked_by_systems(answers: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """Return what steps of the bundled systems ask beyond *answers*: other memories, arrays behind units, mixtures."""
    found: dict[str, dict[str, object]] = {}
    known = {
        "shipped": answers.get,
        "recall": lambda key, _question: found.get(key),
        "remember": lambda key, _question, answer: found.update({key: answer}),
    }
    with ExitStack() as stack:
        for name, replacement in known.items():
            stack.enter_context(patch.object(floor, name, replacement))
        for name, model, (batch, context) in product(system_names(), MODELS, STEPS):
            with suppress(InputError):
                evaluate_step(load_system(name), load_model(model), batch=batch, context=context, precision="w8a16kv16")
    return found


if __name__ == "__main__":
    main()
