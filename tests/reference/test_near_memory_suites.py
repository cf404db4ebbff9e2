"""Near-memory units against the simulators of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from archsim.errors import InputError
from archsim.validation.pim import gemv_clocks, suite


def test_a_product_of_hbm_pim_takes_pimsimulators_clocks() -> None:
    """4,096 by 4,096 in FP16 on 64 pseudochannels of HBM2: 36,082 clocks without units, 13,166 with, within 10 %."""
    assert gemv_clocks("none") == pytest.approx(36_082, rel=0.1)
    assert gemv_clocks("all") == pytest.approx(13_166, rel=0.1)


def test_the_suite_takes_no_file() -> None:
    """Its figures are of one run."""
    with pytest.raises(InputError, match="two figures"):
        suite(Path("rows.csv"))
