"""The built site in a real browser: figures by keyboard, no serious fault for axe, 400 px, dark.

Needs Chromium with its driver, the extra `docs`, and `make docs` before; skipped by name otherwise.
One page of each kind is looked at; FAIRDRAFT_EVERY_PAGE=1 looks at all, which takes minutes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.markdown import ROOT
from tests.browsers import browserless, faults, headless, show

SITE = ROOT / "docs" / "_build"
STANDALONE = ROOT / "docs" / "live" / "index.html"
FIGURES = [STANDALONE, SITE / "docs" / "live.html"]


def missing() -> str | None:
    """What is not there, or None."""
    if (reason := browserless()) is not None:
        return reason
    return None if (SITE / "index.html").exists() else "the site is not built: run `make docs`"


pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with headless() as driver:
        yield driver


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def text_of(browser: Any, selector: str) -> str:
    return str(browser.execute_script(f"return document.querySelector({selector!r}).textContent"))


def built() -> list[Path]:
    """A page of each kind, or every page."""
    if os.environ.get("FAIRDRAFT_EVERY_PAGE"):
        return [STANDALONE, *sorted(SITE.rglob("*.html"))]
    kinds = (
        "index.html",
        "search.html",
        "docs/drafters.html",
        "docs/live.html",
        "docs/reference/api-testing.html",
        "docs/reference/config.html",
        "docs/reference/write-a-proposer.html",
        "source/fairdraft/telemetry/trace.py.html",
    )
    return [STANDALONE, *(SITE / name for name in kinds)]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Any, dark: bool) -> None:
    found = []
    for page in built():
        show(browser, page, width=400 if dark else 1280, dark=dark)
        found += [(page.name, *fault) for fault in faults(browser)]
    assert found == []


def test_no_page_is_wider_than_400_px(browser: Any) -> None:
    wide = []
    for page in built():
        show(browser, page, width=400)
        if browser.execute_script("return document.documentElement.scrollWidth") > 400:
            wide.append(page.name)
    assert wide == []


def test_nothing_comes_from_elsewhere_and_nothing_fails(browser: Any) -> None:
    for page in built():
        show(browser, page)
        assets = browser.execute_script(
            "return performance.getEntriesByType('resource').map((each) => each.name)"
        )
        assert [name for name in assets if not name.startswith(("file:", "data:"))] == [], page
        severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert severe == [], page


@pytest.mark.parametrize("page", FIGURES, ids=["alone", "site"])
def test_the_explorer_by_keyboard(browser: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    show(browser, page)
    assert text_of(browser, ".fd-says strong").startswith("Draft 5 tokens")
    browser.execute_script("document.querySelector('.fd-sliders input').focus()")
    press(browser, *[Keys.HOME])  # α = 0
    assert text_of(browser, ".fd-says strong").startswith("Turn it off")
    press(browser, *[Keys.END])  # α = 1
    assert text_of(browser, ".fd-says strong").startswith("Draft 16 tokens")
    press(browser, Keys.TAB, Keys.END)  # c = 1
    assert text_of(browser, ".fd-says strong").startswith("Turn it off")
    assert "1.00" in text_of(browser, ".fd-sliders output")
    rows = browser.execute_script("return document.querySelectorAll('.fd-figure tbody tr').length")
    assert rows >= 17
    labels = browser.execute_script(
        "return [...document.querySelectorAll('.fd-charts svg')].map((each) => each.ariaLabel)"
    )
    assert "Turn it off" in labels[0]


@pytest.mark.parametrize("page", FIGURES, ids=["alone", "site"])
def test_the_rounds_by_keyboard(browser: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    figure = '[data-figure="rounds"]'
    show(browser, page)
    browser.execute_script(f"document.querySelector('{figure}').focus()")
    says = f"{figure} .fd-says"
    assert text_of(browser, says).startswith("Draft.")
    press(browser, Keys.ARROW_RIGHT)
    assert text_of(browser, says).startswith("Verify.")
    press(browser, Keys.ARROW_RIGHT)
    assert "3 tokens from one run" in text_of(browser, says)
    for mark, sign in (("accepted", "✓"), ("rejected", "✗"), ("own", "◆")):
        assert sign in text_of(browser, f"{figure} .fd-round .fd-{mark}")
    press(browser, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert text_of(browser, says).startswith("Draft.")
    press(browser, Keys.END)
    assert "Step 12 of 12" in text_of(browser, f"{figure} .fd-counts")


def test_nothing_moves_by_itself_where_that_is_not_wanted(browser: Any) -> None:
    buttons = "[...document.querySelectorAll('[data-figure=\"rounds\"] button')]"
    for still, expected in ((True, False), (False, True)):
        show(browser, STANDALONE, still=still)
        texts = browser.execute_script(f"return {buttons}.map((each) => each.textContent)")
        assert ("Play" in texts) is expected
        moving = "return document.getAnimations().length"
        browser.execute_script(f"{buttons}[2].click()")
        assert (browser.execute_script(moving) > 0) is expected


def test_the_front_page_leads_to_every_page(browser: Any) -> None:
    show(browser, SITE / "index.html")
    found = browser.execute_script(
        "return [...document.querySelectorAll('a')].map((each) => each.href.split('#')[0])"
    )
    for name in ("docs/live.html", "docs/reference/README.html", "docs/glossary.html"):
        assert (SITE / name).as_uri() in found


def test_search_works_from_a_file(browser: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{(SITE / 'search.html').as_uri()}?q=check_proposer")
    results = "return [...document.querySelectorAll('#search-results a')].map((e) => e.href)"
    found = WebDriverWait(browser, 20).until(lambda each: each.execute_script(results))
    assert any("write-a-proposer" in address or "api-testing" in address for address in found)
