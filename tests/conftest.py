"""Fixtures that several questions share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real traces, models and reference measurements that lies beside a checkout."""
    if not SHARED.is_dir():
        pytest.skip("the reference data folder ../shared is absent")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def _interrupts() -> Iterator[None]:
    """Let commands that tests start hear SIGINT: a shell starts what runs in its background deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
