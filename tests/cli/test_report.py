"""`archsim report`: one HTML file of one or two runs, whole, offline, escaped, and the same bytes each time."""

from __future__ import annotations

import configparser
import html
import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from matplotlib import colormaps
from matplotlib.colors import to_hex

from archsim.cli import group, main
from archsim.hardware.system import System
from archsim.metrics.accounts import ACCOUNTS, USEFUL
from archsim.report import html_page
from archsim.report.html_page import MOST_BYTES
from archsim.report.html_recovery import recovery
from archsim.report.html_rows import waterfall
from archsim.report.style import svg_bytes
from archsim.report.system_figure import system_figure
from archsim.result import ScopeLedger
from archsim.simulate import load_system

VOID = {"meta", "link", "img"}
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>$\\frac{'
BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


class Page(HTMLParser):
    """The elements of a page, with what is open at its end and what was closed out of order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element; leave it open unless it is a void one."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that closes itself."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element, which must be this one."""
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def invoke(*arguments: str | Path) -> str:
    """Run the command line, which must succeed; return what it printed."""
    done = CliRunner().invoke(group, [str(word) for word in arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two run directories: `step` and `replay`, of the same small system at different traffic."""
    folder = tmp_path_factory.mktemp("runs")
    given = ["run", "rtx-3090", "--model", "llama-3.1-8b", "--precision", "w4a16kv16"]
    invoke(*given, "--batch", "4", "--context", "256", "--out", folder / "step")
    invoke(*given, "--trace", "azure-conv", "--limit", "4", "--out", folder / "replay")
    return folder


def page_of(out: Path, *given: Path) -> str:
    """Return the report of the runs *given*, written to *out*."""
    invoke("report", *given, "--out", out)
    return out.read_text(encoding="utf-8")


def test_a_report_is_one_whole_page_that_asks_for_nothing(runs: Path, tmp_path: Path) -> None:
    """Every element closes, no address leads out, it is below its limit, and all sections of a replay are there."""
    text = page_of(tmp_path / "r.html", runs / "replay")
    page = Page(text)
    assert (page.open, page.wrong) == ([], [])
    assert len(text.encode()) < MOST_BYTES
    for tag, attributes in page.elements:
        for name in ("src", "href"):
            address = attributes.get(name) or "#"
            assert address.startswith(("#", "data:")), (tag, address)
    assert not re.search(r"url\(|@import", text)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    expected = {"headline", "ledger", "roofline", "time", "latency", "energy", "system", "sources", "again"}
    assert set(ids) == expected
    links = {attributes["href"] for tag, attributes in page.elements if tag == "a"}
    assert links == {f"#{name}" for name in expected}
    command = json.loads((runs / "replay/result.json").read_text())["provenance"]["command"]
    assert html.escape(command) in text
    assert "assumption" in text
    assert "Operators, before and after batching" in text
    assert str(runs) not in text


def test_equal_runs_are_equal_bytes_wherever_they_lie(runs: Path, tmp_path: Path) -> None:
    """A copy of a run directory in another place makes the same file."""
    shutil.copytree(runs / "replay", tmp_path / "copy")
    assert page_of(tmp_path / "a.html", runs / "replay") == page_of(tmp_path / "b.html", tmp_path / "copy")


def test_a_result_alone_makes_a_report_without_what_is_not_beside_it(runs: Path, tmp_path: Path) -> None:
    """No drawing, no time, no latencies; the ledger and the sources of a bundled system are there."""
    shutil.copy(runs / "replay/result.json", tmp_path / "lone.json")
    ids = {
        attributes.get("id") for _, attributes in Page(page_of(tmp_path / "r.html", tmp_path / "lone.json")).elements
    }
    assert {"ledger", "sources"} <= ids
    assert not {"time", "latency"} & ids


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ("replay", "config.resolved.toml"),
        ("replay", "ledger.csv.gz"),
        ("replay", "requests.csv.gz"),
        ("replay", "result.json"),
        ("step", "config.resolved.toml"),
        ("step", "ledger.csv.gz"),
    ],
)
def test_a_directory_that_is_not_whole_is_refused(
    run: str, name: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each file that a run writes is needed: the message names the one that is not there, and no page is written."""
    shutil.copytree(runs / run, tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "r.html")]) == 2
    message = capsys.readouterr().err
    assert name in message
    assert "result.json" in message
    assert not (tmp_path / "r.html").exists()


def test_a_directory_that_vanishes_while_it_is_read_makes_no_page(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removed before any one of the times that a file of it is opened, it is refused; after, the page is whole."""
    whole = page_of(tmp_path / "whole.html", runs / "replay")
    run, opened = tmp_path / "run", os.open
    left = 0

    def vanishing(path: Any, *words: Any, **named: Any) -> Any:
        nonlocal left
        if Path(path).parent == run:
            left -= 1
            if left == 0:
                shutil.rmtree(run)
        return opened(path, *words, **named)

    monkeypatch.setattr(os, "open", vanishing)
    codes = []
    for number in range(1, 30):
        shutil.copytree(runs / "replay", run, dirs_exist_ok=True)
        left, out = number, tmp_path / f"{number}.html"
        codes.append(main(["report", str(run), "--out", str(out)]))
        assert out.exists() == (codes[-1] == 0)
        if codes[-1] == 0:
            assert out.read_text(encoding="utf-8") == whole
            break
    assert codes == [2] * (len(codes) - 1) + [0]
    assert len(codes) > 4  # result, configuration, ledger, requests


def test_two_runs_mark_what_differs_and_nothing_else(runs: Path, tmp_path: Path) -> None:
    """A run beside itself has no mark; beside another one, lines of equal text stay unmarked."""
    same = page_of(tmp_path / "same.html", runs / "step", runs / "step")
    assert 'class="differs"' not in same
    text = page_of(tmp_path / "two.html", runs / "step", runs / "replay")
    rows = re.findall(r'<tr( class="differs")?><th scope="row">([^<]+)</th><td>([^<]*)</td><td>([^<]*)</td>', text)
    assert {name for _, name, *_ in rows} >= {"traffic", "decode MBU", "model"}
    for mark, name, first, second in rows:
        assert bool(mark) == (first != second), name
    assert Page(text).wrong == []


def test_words_of_a_run_are_text_and_never_markup(runs: Path, tmp_path: Path) -> None:
    """A system, model, trace or command that looks like a script is shown as it stands, and draws."""
    run = tmp_path / "run"
    shutil.copytree(runs / "replay", run)
    result = json.loads((run / "result.json").read_text())
    result["system"] |= {"name": HOSTILE, "title": HOSTILE}
    result["model"]["name"] = HOSTILE
    result["provenance"] |= {"trace_name": HOSTILE, "command": f"archsim run {HOSTILE}", "fidelity": {HOSTILE: HOSTILE}}
    (run / "result.json").write_text(json.dumps(result))
    config = (run / "config.resolved.toml").read_text()
    config = re.sub(r'^title = ".*"$', lambda _: f"title = '{HOSTILE}'", config, count=1, flags=re.MULTILINE)
    (run / "config.resolved.toml").write_text(config)
    for given in ([run], [run, runs / "step"]):
        text = page_of(tmp_path / f"{len(given)}.html", *given)
        page = Page(text)
        assert [tag for tag, _ in page.elements].count("script") == 1
        assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
        assert (page.open, page.wrong) == ([], [])
        assert "alert(1)&lt;/script&gt;" in text


def test_every_loss_has_a_sentence() -> None:
    """Each account that is not useful says what would recover it, in a sentence."""
    for account in ACCOUNTS:
        assert recovery(account).endswith(".") == (account not in USEFUL)


def test_a_waterfall_falls_from_the_peak_to_the_useful_share() -> None:
    """Losses in falling order, those below 0.05 % as one row, and all rows but the peak sum to it."""
    accounts = {"useful_weights": 0.5, "network": 0.2, "host": 0.2996, "row": 0.0004}
    steps = waterfall(ScopeLedger(peak_per_s=1e12, unit="B/s", accounts=accounts))
    assert [(step.name, step.kind) for step in steps] == [
        ("peak", "peak"), ("host", "loss"), ("network", "loss"), ("all smaller losses", "loss"), ("weights", "useful"),
    ]  # fmt: skip
    assert math.isclose(math.fsum(step.share for step in steps[1:]), 1.0, abs_tol=1e-12)
    assert 'x="70.04" y="0" width="29.96"' in steps[1].bar


def test_the_command_of_a_changed_system_runs_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the run directory, the command of the report writes the same result.json, prices and all."""
    given = ["run", "rtx-3090", "--model", "llama-3.1-8b", "--precision", "w4a16kv16", "--set", "chip.tdp=300 W"]
    invoke(*given, "--batch", "2", "--context", "128", "--economics", "default", "--out", tmp_path / "run")
    text = page_of(tmp_path / "r.html", tmp_path / "run")
    found = re.search(r"<code>archsim (.*)</code>", text)
    assert found is not None
    assert "their sources are in the files" in text
    assert "economics/default.toml" in text
    monkeypatch.chdir(tmp_path / "run")
    invoke(*html.unescape(found[1]).split(), "--out", tmp_path / "again")
    assert (tmp_path / "again/result.json").read_bytes() == (tmp_path / "run/result.json").read_bytes()


def test_an_installed_package_holds_the_template() -> None:
    """setup.cfg packs what the page is made of, by a pattern that every such file matches."""
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg", encoding="utf-8")
    pattern = setup["options.package_data"]["archsim.report"]
    packed = {path.name for path in Path(html_page.__file__).parent.glob(pattern)}
    assert packed == {"report.css", "report.html.j2", "report.js", "report.macros.j2", "report.study.html.j2"}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{}", "schema"),
        ('{"schema": "archsim.result/9"}', "archsim.result/9"),
        ('{"schema": "archsim.result/1"}', "provenance"),
        ("[1]", "schema"),
        ("no json", "line 1"),
    ],
)
def test_what_is_no_result_is_refused_by_name(
    content: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and a message that names the file and what is wrong in it."""
    (tmp_path / "result.json").write_text(content)
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "r.html")]) == 2
    message = capsys.readouterr().err
    assert "result.json" in message
    assert named in message
    assert not (tmp_path / "r.html").exists()


def test_files_that_are_in_the_way_or_missing_are_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An existing output, a folder that is not there, a run that is not there, a broken table: exit code 2."""
    taken = tmp_path / "taken.html"
    taken.write_text("mine")
    broken = tmp_path / "broken"
    shutil.copytree(runs / "step", broken)
    (broken / "ledger.csv.gz").write_bytes(b"no gzip")
    step = str(runs / "step")
    for words, named in (
        ([step, "--out", str(taken)], "does not exist yet"),
        ([step, "--out", str(tmp_path / "no/r.html")], "folder that exists"),
        ([str(tmp_path / "none")], "run directory"),
        ([str(broken), "--out", str(tmp_path / "r.html")], "ledger.csv.gz"),
    ):
        assert main(["report", *words]) == 2
        assert named in capsys.readouterr().err
    assert taken.read_text() == "mine"


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_browser_loads_and_sorts_without_a_complaint(runs: Path, tmp_path: Path) -> None:
    """The page's own script runs under its policy: a click on a head sorts the table and says so; nothing is logged."""
    text = page_of(tmp_path / "r.html", runs / "replay")
    page = tmp_path / "r.html"
    done = browse(page, tmp_path)
    assert "CONSOLE" not in done.stderr
    clicking = "document.querySelector('#energy th button, #ledger .sortable th button').click();"
    # The policy knows the script by its hash, so the page under test is one without a policy.
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    page.write_text(free.replace("</body>", f"<script>{clicking}</script></body>"), encoding="utf-8")
    done = browse(page, tmp_path)
    assert 'aria-sort="ascending"' in done.stdout
    assert "CONSOLE" not in done.stderr


def browse(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Load *page* and return what its document became, and what the browser logged."""
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    return subprocess.run(
        [str(BROWSER), *flags, "--enable-logging=stderr", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip


def test_links_are_drawn_as_warm_as_they_are_busy() -> None:
    """The busiest link has the end of the scale, an idle one is grey, and the busier way of a link is what counts."""
    spec = load_system("h100-sxm8")
    heat = {f"chip{n}-switch0": 0.1 * n for n in range(8)} | {f"switch0-chip{n}": 0.05 for n in range(8)}
    axes = system_figure(spec, heat).axes[1]
    colours = [to_hex(line.get_color()) for line in axes.lines if line.get_linewidth() > 1.5]
    assert len(colours) == 8
    assert len(set(colours)) == 8  # 5 % of chip0's way back; 10 % to 70 % of the others' way out
    assert to_hex(colormaps["viridis_r"](1.0)) in colours
    cold = dict.fromkeys(heat, 0.0)
    greys = [to_hex(line.get_color()) for line in system_figure(spec, cold).axes[1].lines if line.get_linewidth() > 1.5]
    assert set(greys) == {"#d9d9d9"}
    large = load_system("h100-sxm8x16")
    names = [link.name for link in System(large).network.links]
    assert svg_bytes(system_figure(large, dict.fromkeys(names, 0.5)))


def test_a_run_on_pools_draws_every_pool(tmp_path: Path) -> None:
    """Each system that serves has its drawing."""
    given = ["run", "h100-h200", "--model", "llama-3.1-8b", "--trace", "azure-conv", "--limit", "3"]
    invoke(*given, "--out", tmp_path / "run")
    text = page_of(tmp_path / "r.html", tmp_path / "run")
    assert text.count('class="picture"') == 2
    assert "Drawing of the pool prefill" in text
    assert "Operators, before and after batching" not in text
