"""`archsim figure`: every kind, both widths, vector formats, equal bytes, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from archsim.cli import main
from archsim.report.run_figures import KINDS
from archsim.report.run_tables import ledger_columns_of, request_columns_of
from archsim.report.style import ONE_COLUMN_IN, TWO_COLUMNS_IN
from archsim.report.writers import write_run
from archsim.result import LedgerColumns, RequestColumns
from archsim.simulate import load_model, load_system, load_trace, run


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LedgerColumns, RequestColumns]:
    """A run directory of a short replay, and the tables it was written from."""
    folder = tmp_path_factory.mktemp("figure") / "replay"
    given = ["run", "rtx-3090", "--model", "llama-3.1-8b", "--precision", "w4a16kv16"]
    assert main([*given, "--trace", "azure-conv", "--limit", "4", "--out", str(folder)]) == 0
    result = run(
        load_system("rtx-3090"), load_model("llama-3.1-8b"), trace=load_trace("azure-conv", limit=4),
        precision="w4a16kv16",
    )  # fmt: skip
    assert result.tables is not None
    assert result.tables.requests is not None
    write_run(result, folder.parent / "plain")
    return folder, result.tables.ledger, result.tables.requests


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "cost"])
def test_figures_have_the_width_of_columns_and_equal_bytes(
    kind: str, replay: tuple[Path, LedgerColumns, RequestColumns], tmp_path: Path
) -> None:
    """SVG of 85 and 178 mm; PDF of the same bytes when drawn again, without a date."""
    for columns, width_in in ((1, ONE_COLUMN_IN), (2, TWO_COLUMNS_IN)):
        out = tmp_path / f"{columns}.svg"
        assert main(["figure", kind, str(replay[0]), str(out), "--columns", str(columns)]) == 0
        found = re.search(r'<svg [^>]*width="([\d.]+)pt"', out.read_text(encoding="utf-8"))
        assert found is not None
        assert float(found[1]) == pytest.approx(72 * width_in, abs=0.1)
    for name in ("a", "b"):
        assert main(["figure", kind, str(replay[0]), str(tmp_path / f"{name}.pdf")]) == 0
    first = (tmp_path / "a.pdf").read_bytes()
    assert first == (tmp_path / "b.pdf").read_bytes()
    assert first.startswith(b"%PDF")
    assert b"CreationDate" not in first


def test_tables_come_back_as_they_were(replay: tuple[Path, LedgerColumns, RequestColumns]) -> None:
    """Requests to the picosecond; the ledger without its channels, row by row."""
    folder, ledger, requests = replay
    for name, column in request_columns_of(folder / "requests.csv.gz").named().items():
        assert np.array_equal(column, requests.named()[name], equal_nan=column.dtype.kind == "f"), name
    whole, read = ledger.named(), ledger_columns_of(folder / "ledger.csv.gz").named()
    kept = np.array([not re.search(r"\.ch\d+$", scope) for scope in whole["scope"]])
    for name, column in read.items():
        assert column.tolist() == whole[name][kept].tolist(), name


def test_several_runs_stand_side_by_side(
    replay: tuple[Path, LedgerColumns, RequestColumns], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bar each; what one run alone can show, or none has, is refused, and so is an ending that is no format."""
    folder = str(replay[0])
    out = tmp_path / "two.svg"
    assert main(["figure", "ledger", folder, folder, str(out)]) == 0
    capsys.readouterr()
    plain = replay[0].parent / "plain"
    for words, named in (
        (["roofline", folder, folder, "x.pdf"], "one run"),
        (["roofline", str(plain), "x.pdf"], "operators that calculate"),
        (["ledger", folder, "x.gif"], ".pdf, .svg, .png"),
        (["ledger", folder, str(out)], "does not exist yet"),
        (["latency", f"{folder}-none", "x.pdf"], "run directory"),
    ):
        assert main(["figure", *words[:-1], str(tmp_path / words[-1])]) == 2
        assert named in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["two.svg"]
