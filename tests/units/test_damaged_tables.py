"""Tables of references and of runs whose cells cannot be: refused by name, never a traceback."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from archsim.errors import InputError
from archsim.report.html_tables import read_requests
from archsim.validation.intervals import residuals_of
from archsim.validation.table import read_table


def test_a_control_character_in_a_reference_is_refused(tmp_path: Path) -> None:
    """It would go to the terminal with the row; a tab is none."""
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,x\ty\n", "utf-8")
    assert [dict(row) for row in read_table(path, ["a"])] == [{"a": "1", "b": "x\ty"}]
    path.write_text("a,b\n1,x\0y\n", "utf-8")
    with pytest.raises(InputError, match="without control characters"):
        list(read_table(path, ["a"]))


@pytest.mark.parametrize("expected", [0.0, -1.0])
def test_a_measured_value_that_is_not_above_zero_has_no_residual(expected: float) -> None:
    """Its logarithm is none."""
    row = {"origin": {"shares": {"a": 1.0}, "measure": "tpot"}, "group": "tpot", "expected": expected, "predicted": 1.0}
    with pytest.raises(InputError, match="above zero"):
        residuals_of([row], "serving")


def test_a_number_of_tokens_beyond_64_bits_is_refused(tmp_path: Path) -> None:
    """Columns of a report are 64 bits wide."""
    path = tmp_path / "requests.csv.gz"
    names = "arrival_s,output_tokens,first_token_s,finish_s"
    path.write_bytes(gzip.compress(f"{names}\n0,{2**64},1,2\n".encode()))
    with pytest.raises(InputError, match=r"line 2.*below 2\^63"):
        read_requests(path)
