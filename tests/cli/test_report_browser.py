"""A report in a real browser: no complaint, no request, sorts, zooms, reads off, both themes, a phone, the keyboard."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import FOUND, Browser

from archsim.report.html_file import write_report
from archsim.report.writers import write_run
from archsim.simulate import load_model, load_system, load_trace, run
from archsim.study.cases import Outcome
from archsim.study.door import load_study
from archsim.study.report import write_study_report
from archsim.study.store import Store

pytestmark = [
    pytest.mark.skipif(FOUND is None, reason="no Chromium on this machine"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two short replays side by side."""
    folder = tmp_path_factory.mktemp("report")
    trace, model = load_trace("azure-conv", limit=3), load_model("llama-3.1-8b")
    for name in ("h100-sxm8", "b200-sxm8"):
        write_run(run(load_system(name), model, trace=trace), folder / name)
    return write_report([folder / "h100-sxm8", folder / "b200-sxm8"], folder / "report.html")[0]


@pytest.fixture(scope="module")
def browser(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that shows it."""
    with Browser(tmp_path_factory.mktemp("profile")) as shown:
        shown.open(page)
        yield shown


def test_it_loads_without_complaint_or_request(browser: Browser, page: Path) -> None:
    """The file itself is the only thing asked for; data within it is no request."""
    assert [url for url in browser.requests if not url.startswith("data:")] == [page.resolve().as_uri()]
    assert browser.complaints == []
    assert (
        browser.run("performance.getEntriesByType('resource').filter((r) => !r.name.startsWith('data:')).length") == 0
    )


def test_a_table_sorts_by_any_head_with_mouse_and_keyboard(browser: Browser) -> None:
    """First upwards, then downwards; a reader hears which."""
    rows = "[...document.querySelector('#energy table.sortable').tBodies[0].rows]"
    cells = f"{rows}.map((r) => Number(r.cells[1].dataset.value))"
    head = "document.querySelectorAll('#energy table.sortable th button')[1]"
    browser.run(f"{head}.click()")
    upwards = browser.run(cells)
    assert upwards == sorted(upwards)
    assert browser.run(f"{head}.closest('th').getAttribute('aria-sort')") == "ascending"
    browser.run(f"{head}.focus()")
    browser.press("Enter", 13)
    assert browser.run(cells) == upwards[::-1]
    assert browser.run(f"{head}.closest('th').getAttribute('aria-sort')") == "descending"


def test_bandwidth_over_time_zooms_by_button_and_by_dragging(browser: Browser) -> None:
    """Half of the axis, then what was dragged over; the ticks say what is shown."""
    chart = "document.querySelector('#time svg.zoom')"
    ticks = f"[...{chart}.querySelectorAll('g.tick text')].map((t) => t.textContent)"
    box = f"{chart}.querySelector('svg.plot').getAttribute('viewBox').split(' ').map(Number)"
    whole, before = browser.run(box), browser.run(ticks)
    buttons = "[...document.querySelectorAll('#time figure:first-child .zoomer button')]"
    press = buttons + ".find((b) => b.textContent === '%s').click()"
    browser.run(press % "Zoom in")
    assert browser.run(box)[2] == pytest.approx(whole[2] / 2)
    assert browser.run(ticks) != before
    browser.run(press % "Whole run")
    assert browser.run(box) == whole
    browser.run(f"{chart}.scrollIntoView({{block: 'center'}})")
    place = browser.run(
        f"(() => {{ const r = {chart}.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; }})()"
    )
    x, y = place[0] + place[2] * 0.4, place[1] + place[3] * 0.5
    for kind, shift in (("mouseMoved", 0), ("mousePressed", 0), ("mouseMoved", 0.2), ("mouseReleased", 0.2)):
        browser.mouse(kind, x + shift * place[2], y)
    assert browser.run(box)[2] == pytest.approx(0.2 * 640, rel=0.1)
    browser.run(press % "Whole run")


def test_hovering_reads_values_off(browser: Browser) -> None:
    """Time and the share of every layer; they lie between nothing and the peak."""
    chart = "document.querySelector('#time svg.zoom')"
    browser.run(f"{chart}.scrollIntoView({{block: 'center'}})")
    place = browser.run(
        f"(() => {{ const r = {chart}.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; }})()"
    )
    browser.mouse("mouseMoved", place[0] + place[2] * 0.6, place[1] + place[3] * 0.5)
    said = browser.run("document.querySelector('#time output').value")
    assert "s: useful, decode" in said
    shares = [float(part.rsplit(" ", 2)[-2]) for part in said.split(": ", 1)[1].split("; ")]
    assert all(0 <= share <= 100 for share in shares)
    assert browser.run(
        "[...document.querySelectorAll('svg.chart path > title, svg.chart g > title')].every((t) => t.textContent)"
    )


def test_a_study_filters_by_words_and_by_columns(tmp_path: Path) -> None:
    """Words and comparisons narrow the table together; the count follows, and so does a sorted order."""
    study = load_study("tp-against-pp")
    with Store.create_or_open(tmp_path / "s.db", study.identity) as store:
        store.take(
            Outcome(n, study.case(n).inputs, "done", {"tokens_per_s": 100.0 + n, "tpot_s_p50": 1.0}, "", {}, 0.0)
            for n in range(study.space.points)
        )
    page = write_study_report(tmp_path / "s.db", tmp_path / "s.html")[0]
    with Browser(tmp_path / "profile") as shown:
        shown.open(page)
        rows = "[...document.querySelectorAll('#points tbody tr')].filter((r) => !r.hidden).length"
        assert shown.run(rows) == study.space.points
        field = "document.querySelector('#points .filter input')"
        type_in = f"(() => {{ {field}.value = '%s'; {field}.dispatchEvent(new Event('input')); }})()"
        for words, count in (("tokens_per_s>103 tokens_per_s<=106", 3), ("point=2", 1), ("no-such-word", 0)):
            shown.run(type_in % words)
            assert shown.run(rows) == count, words
            assert shown.run("document.querySelector('#points .filter output').value").startswith(f"{count} of ")
        shown.run(type_in % "")
        assert shown.run(rows) == study.space.points
        assert shown.complaints == []
        assert {url for url in shown.requests if not url.startswith("data:")} == {page.resolve().as_uri()}
        shown.open(page, width=360, height=740)
        assert shown.run("document.documentElement.scrollWidth") <= 360


def test_both_themes_have_text_that_stands_out(browser: Browser) -> None:
    """Background and text change places; their contrast is at least 7:1 (WCAG AAA)."""
    seen = {}
    for theme in ("dark", "light"):
        browser.theme(theme)
        colours = browser.run(
            "['backgroundColor', 'color'].map((c) => getComputedStyle(document.body)[c].match(/\\d+/g).map(Number))"
        )
        back, text = (0.2126 * r**2.2 + 0.7152 * g**2.2 + 0.0722 * b**2.2 for r, g, b in colours)
        low, high = sorted((back / 255**2.2, text / 255**2.2))
        assert (high + 0.05) / (low + 0.05) > 7
        seen[theme] = back < text
    assert seen == {"dark": True, "light": False}


def test_a_phone_scrolls_in_one_direction(page: Path, browser: Browser) -> None:
    """At 360 pixels the page is no wider than the window; wide tables scroll by themselves."""
    browser.open(page, width=360, height=740)
    assert browser.run("document.documentElement.scrollWidth") <= 360
    browser.open(page)


def test_every_control_is_reached_by_tab_and_says_what_it_does(browser: Browser) -> None:
    """Buttons, links and summaries have a name and are not taken out of the order."""
    script = (
        "[...document.querySelectorAll('button, a, summary')]"
        ".filter((e) => e.tabIndex < 0 || !(e.textContent || e.ariaLabel || '').trim()).length"
    )
    assert browser.run(script) == 0


def test_it_prints_with_everything_open(browser: Browser) -> None:
    """A PDF of several pages; folded parts are folded again afterwards."""
    before = browser.run("[...document.querySelectorAll('details')].map((d) => d.open)")
    printed = base64.b64decode(browser.ask("Page.printToPDF", printBackground=True)["data"])
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page") > 3
    assert browser.run("[...document.querySelectorAll('details')].map((d) => d.open)") == before
    assert browser.complaints == []
