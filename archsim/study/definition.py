"""The study of a store: read back from what the store keeps of it, written as a file again, and what runs it.

A store holds the whole definition, so a report needs neither the file nor the systems that it names. Whether a bundled
study, or its search, is the one of the store is told by digest.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit
from pydantic import ValidationError

from archsim.errors import InputError, Problem
from archsim.files import bundled_names, parse_json
from archsim.study.door import load_study
from archsim.study.search import SAMPLERS, Search, search_identity
from archsim.study.spec import StudySpec
from archsim.study.store import Store
from archsim.study.study import Study, space_of

__all__ = ["Again", "again_of", "study_of", "toml_of"]

_SEEDS = range(16)
_ROUNDS = range(2, 513)
"""Seeds and rounds of searches that are tried against the digest of a store."""


class Again(NamedTuple):
    """What fills a store again."""

    command: str
    same_files: bool
    """Whether the bundled files of this version give exactly the study of the store."""


def study_of(store: Store) -> Study:
    """Return the study of *store*, without the content of the files that it names.

    Raises `InputError` where the definition in it is none.
    """
    value = parse_json(store.identity.definition, store.path)
    try:
        spec = StudySpec.model_validate(value)
    except ValidationError as error:
        wrong = error.errors()[0]
        key = ".".join(map(str, wrong["loc"]))
        raise InputError(Problem(str(store.path), f"definition.{key}", "", f"a study: {wrong['msg']}")) from None
    return Study(spec, Path(), space_of(spec), ())


def toml_of(study: Study) -> str:
    """Return the study as a file that `archsim sweep` reads; paths in it start where the first file lay."""
    return tomlkit.dumps(_stated(study.spec.model_dump(mode="json", by_alias=True)))


def _stated(value: Any) -> Any:
    """Return *value* without what a file leaves out: keys that are null or empty."""
    if isinstance(value, dict):
        kept = {key: _stated(item) for key, item in value.items() if item is not None and item not in ([], {}, ())}
        return {key: item for key, item in kept.items() if item != {}}
    return [_stated(item) for item in value] if isinstance(value, list) else value


def again_of(store: Store) -> Again:
    """Return the command that fills *store* again."""
    identity = store.identity
    searched = not identity.points
    name = identity.study
    study = _bundled(name)
    if study is not None and study.identity.digest == identity.digest:
        return Again(f"archsim sweep {name}", same_files=True)
    if study is not None and searched:
        count = sum(store.counts().values())
        for sampler, seed, size in itertools.product(SAMPLERS, _SEEDS, _ROUNDS):
            how = Search(sampler, count, seed=seed, round_size=size)
            if search_identity(study, how).digest == identity.digest:
                options = f"--trials {count} --sampler {sampler} --seed {seed} --round {size}"
                return Again(f"archsim search {name} {options}", same_files=True)
    verb = "search STUDY.toml --trials N --sampler NAME --seed N" if searched else "sweep STUDY.toml"
    return Again(f"archsim {verb}", same_files=False)


def _bundled(name: str) -> Study | None:
    if name not in bundled_names("workloads", "studies", (".toml",)):
        return None
    try:
        return load_study(name)
    except InputError:
        return None
