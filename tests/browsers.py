"""A headless Chromium that looks at pages as a reader with given settings would see them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SERIOUS = ("serious", "critical")
AXE = "axe_core_python"  # the package that carries axe.min.js


def browserless() -> str | None:
    """What is not there of all that looking at a page needs, or None."""
    if not shutil.which("chromium"):
        return "chromium is not installed"
    if not shutil.which("chromedriver"):
        return "chromedriver is not installed"
    for package in ("selenium", AXE):
        if find_spec(package) is None:
            return f"{package} is not installed: the extra `docs` brings it"
    return None


@contextmanager
def headless() -> Iterator[Any]:
    """Start a browser that reaches no other machine."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{flag}")
    # Nothing may come from elsewhere, and nothing is asked for.
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=str(shutil.which("chromedriver")))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


def show(
    browser: Any, page: Path, width: int = 1280, dark: bool = False, still: bool = True
) -> None:
    """Open a page as a user with these settings would see it."""
    features = [
        {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
        {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())


def faults(browser: Any) -> list[tuple[str, list[str]]]:
    """Return what axe finds serious on the page that is open, with all that folds opened."""
    spec = find_spec(AXE)
    assert spec is not None
    assert spec.origin is not None
    axe = (Path(spec.origin).parent / "axe.min.js").read_text("utf-8")
    browser.execute_script("document.querySelectorAll('details').forEach((e) => e.open = true)")
    browser.execute_script(axe)
    result = browser.execute_async_script("axe.run().then(arguments[0])")
    return [
        (fault["id"], [node["html"][:80] for node in fault["nodes"][:3]])
        for fault in result["violations"]
        if fault["impact"] in SERIOUS
    ]
