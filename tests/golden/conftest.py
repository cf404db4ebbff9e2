"""`pytest tests/golden --update-golden` writes the golden files anew, for a reader of the difference to judge."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--update-golden", action="store_true", help="write the golden files of tests/golden anew")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Return whether golden files are to be written; False where the option was not known when pytest started."""
    return bool(request.config.getoption("--update-golden", default=False))
