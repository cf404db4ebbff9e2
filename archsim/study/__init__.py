"""Design studies: many designs asked the same questions, kept in one store.

A STUDY.toml names base systems, axes over keys of their configuration, workloads, constraints and objectives. Its
points are numbered; what stands at a number follows from the file alone, so that any process can work out any point,
and a store of rows by number is the same whoever filled it and in whatever order.

The room knows no physics: a point is a call of `archsim.run`, a metric a number read off its `Result`.
"""

__all__: list[str] = []
