"""What `archsim doctor` prints: findings as lines, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from archsim.validation.doctor import Findings

__all__ = ["doctor_json", "doctor_text"]


def doctor_text(findings: Findings) -> str:
    """Return *findings* as lines."""
    return "\n".join(_lines(findings)) + "\n"


def _lines(findings: Findings) -> Iterator[str]:
    yield f"archsim   {findings.archsim}, Python {findings.python}, {findings.system}"
    versions = ", ".join(f"{name} {version or 'MISSING'}" for name, version in findings.packages.items())
    yield f"packages  {versions}"
    yield "bundled   " + ", ".join(f"{count} {kind}" for kind, count in findings.bundled.items())
    if findings.cache is None:
        yield "cache     none: no folder can be written, answers are computed anew each time"
    else:
        yield f"cache     {findings.cache}: {findings.cache_files:,} files, {findings.cache_bytes / 1e6:.1f} MB"
    for extra, packages in findings.extras.items():
        lacking = ", ".join(name for name, version in packages.items() if version is None)
        there = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
        yield f"extra     {extra}: " + (f"pip install 'archsim[{extra}]' ({lacking})" if lacking else there)
    for speed in findings.speeds:
        answer = "answer right" if speed.right else "ANSWER WRONG"
        rate = f"{speed.measured:.3g} {speed.unit}, {speed.relative:.2f} x the first machine's"
        yield f"speed     {speed.what}: {rate}; {answer}"
    if findings.problem:
        yield f"problem   {findings.problem}"
    yield f"verdict   {'well' if findings.well else 'NOT WELL'}"


def doctor_json(findings: Findings) -> str:
    """Return *findings* as JSON."""
    content = {**asdict(findings), "problem": findings.problem or None, "well": findings.well}
    return json.dumps(content, sort_keys=True, indent=2, allow_nan=False) + "\n"
