"""What a kernel becomes when units near a memory run it: which bytes stay inside, which pass the interface.

Units read the operand that lies in their memory (KV cache or weights) over the arrays; the other operand comes over the
interface, results and partial sums go back over it. What the units cannot do (a softmax, norms, activations) stays on
the host, with the traffic that this takes.

N5: rows beyond what a unit multiplies with one read of the other operand read it again; those bytes are overfetch.
N6: weights lie evenly over all units, each with whole input rows, so that no partial sums leave beyond `result`; inputs
are sent to every place, and again whenever a unit's buffer is full.
N7: a sequence's context lies whole in one place, or is split over all of them; then each place returns a partial output
and its sum in fp32, as each unit of a place does where nobody adds near the memory.
"""

from __future__ import annotations

from dataclasses import replace

from archsim.hardware.nearmem import NearUnits
from archsim.mapping.plan import Near, Task, Transfer

__all__ = ["near_attention", "near_product"]

_PARTIAL_BYTES = 4
"""A partial sum in fp32."""


def near_attention(task: Task, units: NearUnits, cache: Transfer) -> Task:
    """Return decode attention *task* whose *cache* the *units* read."""
    spec, split = units.spec, units.spec.sequences == "split" or not task.shards
    query = sum(t.bytes for t in task.transfers if t.tensor == "activations" and not t.write)
    result = sum(t.bytes for t in task.transfers if t.tensor == "activations" and t.write)
    places = units.places if split else 1
    copies = places * (units.units_per_place if spec.adds == "host" else 1)
    shard = -(-cache.bytes // max(task.shards, 1))
    passes = -(-max(task.matrix_rows, 1) // spec.rows)
    read = replace(
        cache,
        level=units.array,
        bytes=cache.bytes * passes,
        run_bytes=_run(cache, units, -(-shard // places)),
        granule_bytes=0 if split else -(-shard // units.burst_bytes) * units.burst_bytes * passes,
    )
    partial = result // _bytes_per_element(task) * _PARTIAL_BYTES * copies if copies > 1 else result
    heard = units.copies if split else min(units.buses, units.copies)
    inputs, outputs = query * heard, max(partial, result)
    vector_flops, near_vector = task.vector_flops, 0
    if "softmax" in spec.operators:
        vector_flops, near_vector = 0, task.vector_flops
    else:
        # Scores leave as the units' lanes have them and come back as probabilities.
        outputs += task.scores * spec.result_bytes
        inputs += task.scores * _bytes_per_element(task)
    rest = tuple(t for t in task.transfers if t is not cache)
    useful = task.matrix_flops - task.replica_flops + near_vector
    return replace(
        task,
        transfers=(*rest, read, *_operands(units, (inputs, min(query, inputs)), (outputs, min(result, outputs)))),
        matrix_flops=0,
        replica_flops=0,
        vector_flops=vector_flops,
        near=Near(units.memory, task.matrix_flops + near_vector, useful),
    )


def near_product(task: Task, units: NearUnits, weights: Transfer) -> Task:
    """Return the product *task* whose *weights* the *units* read."""
    spec, rows = units.spec, max(task.matrix_rows, 1)
    passes = -(-rows // (spec.rows if "gemm" in spec.operators else 1))
    element = _bytes_per_element(task)
    # The inner dimension's inputs of one row, and how often a unit's buffer takes them.
    inner = max(1, task.matrix_inputs // rows)
    reloads = max(1, -(-inner * element // spec.buffer_bytes))
    outputs = task.matrix_flops // (2 * inner)
    read = replace(
        weights,
        level=units.array,
        bytes=weights.bytes * passes,
        run_bytes=_run(weights, units, -(-weights.bytes // (units.places * reloads))),
        granule_bytes=0,
    )
    sent = task.matrix_inputs * element
    inputs = (sent * units.copies, sent)
    results = (outputs * max(spec.result_bytes, element), outputs * element)
    return replace(
        task,
        transfers=(*(t for t in task.transfers if t is not weights), read, *_operands(units, inputs, results)),
        matrix_flops=0,
        replica_flops=0,
        # Units multiply weights as they are stored: nothing is widened on the host.
        vector_flops=task.vector_flops - task.widening_flops,
        widening_flops=0,
        near=Near(units.memory, task.matrix_flops, task.matrix_flops - task.replica_flops),
    )


def _run(operand: Transfer, units: NearUnits, together: int) -> int:
    """Return the bytes of a place that units stream from one loading of inputs on, or that lie together."""
    return max(1, together) if units.spec.level in ("bank", "bank_group") else operand.run_bytes


def _bytes_per_element(task: Task) -> int:
    return {"fp8": 1, "int8": 1, "int4": 1}.get(task.matrix_dtype, 2)


def _operands(units: NearUnits, inputs: tuple[int, int], outputs: tuple[int, int]) -> tuple[Transfer, ...]:
    """Return the transfers of (bytes, useful bytes) over the interface; each is one run."""
    sent = Transfer(units.io, "activations", inputs[0], inputs[1], write=False, run_bytes=inputs[0])
    back = Transfer(units.io, "activations", outputs[0], outputs[1], write=True, run_bytes=outputs[0])
    return tuple(transfer for transfer in (sent, back) if transfer.bytes)
