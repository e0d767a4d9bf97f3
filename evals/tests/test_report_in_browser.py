"""`report.html` in a real browser without a network: it draws, filters, and complains of nothing."""

import shutil

import pytest
from made_runs import often, row, rows, write

from memalpha_evals import reports

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("needs a browser: apt-get install chromium-headless-shell")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def said():
    """What the page logged, threw or asked the network for."""
    return []


@pytest.fixture
def page(browser, said):
    opened = browser.new_page()
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: said.append(request.url) if "file:" not in request.url else None)
    return opened


@pytest.fixture
def report(tmp_path):
    made = rows({"no-memory": often(0), "memalpha": often(1)})
    failed = row(question=50, failure="reader: down", answer="")
    reports.write(write(tmp_path / "run", [*made, failed]))
    return tmp_path / "run" / "report.html"


def test_the_page_shows_its_tables_and_filters_its_answers(page, said, report) -> None:
    page.goto(report.as_uri())
    assert page.locator("table").count() >= 4
    assert page.locator("th", has_text="memalpha").first.is_visible()
    assert page.locator("svg").first.bounding_box()["width"] > 100
    answers = page.locator(".answer:visible")
    whole = answers.count()
    page.select_option("[data-filter=system]", "memalpha")
    assert 0 < answers.count() < whole
    page.select_option("[data-filter=outcome]", "failed")
    assert answers.count() == 1
    assert "reader: down" in answers.inner_text()
    assert said == []


def test_a_script_that_is_not_the_page_s_own_is_refused_and_said(page, said, report) -> None:
    text = report.read_text().replace('<script>"use strict";', '<script>"use strict"; alert(1);')
    report.write_text(text)
    page.goto(report.as_uri())
    page.select_option("[data-filter=system]", "memalpha")
    assert page.locator(".answer:visible[data-system=no-memory]").count() > 0
    assert any("Content Security Policy" in each for each in said)
