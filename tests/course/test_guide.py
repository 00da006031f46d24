"""The guide's pages: their pictures have scripts, and numbers in sentences come from equations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fairdraft.economics import expected_tokens_per_verify, optimal_k, speedup
from fairdraft.economics.equations.cost import break_even_length, ceiling
from fairdraft.economics.equations.estimators import public_alpha

COURSE = Path(__file__).parents[2] / "phase-08-speculative-decoding"


def text_of(name: str) -> str:
    """Return a page without line breaks, as a reader sees it."""
    return re.sub(r"\n>? ?", " ", (COURSE / name).read_text("utf-8"))


@pytest.mark.parametrize("picture", sorted(path.stem for path in COURSE.glob("figures/*.png")))
def test_every_picture_has_its_script(picture: str) -> None:
    assert (COURSE / "figures" / f"{picture}.py").is_file()
    assert f"figures/{picture}.png" in (COURSE / "README.md").read_text("utf-8")


def tokens(alpha: float, k: int) -> str:
    """Return E with two digits."""
    return f"{expected_tokens_per_verify(alpha, k):.2f}"


# The shorter of two draft lengths whose speedups agree to four digits, at α = 0.7 and c = 0.05.
K = min((5, 6), key=lambda k: -round(speedup(0.7, k, 0.05), 4))

# Every number that answers and the guide's text take from the equations, as they say it.
SAID = {
    "README.md": [
        f"At α = 0.5 nothing makes speculation more than {'twice' if ceiling(0.5) == 2 else '?'}",
        "some 295 rows on an H100" if round(989e12 / 3.35e12) == 295 else "?",
    ],
    "CHEATSHEET.md": [f"{ceiling(0.5):.0f} at .5, {ceiling(0.7):.1f} at .7, {ceiling(0.9):.0f} at"],
    "INTERVIEW.md": [
        f"at α = 0.7 and k = 4, {tokens(0.7, 4)}.",
        f"{tokens(0.7, 4)} / 1.4 = {speedup(0.7, 4, 0.1):.2f}",
        f"{ceiling(0.5):.0f}× at α = 0.5, {ceiling(0.7):.1f}× at 0.7",
        f"the best you get is {speedup(0.8, optimal_k(0.8, 0.5, 16), 0.5):.1f}×",
        f"The break-even length was {break_even_length(1 / 342, 1.966 / 128):.2f}",
        f"42% is α = {public_alpha(42, 100, 8).value:.1f}",
        f"= {tokens(0.7, 5)}, divided by 1.25, is {speedup(0.7, 5, 0.05):.2f}",
        f"k = 6 is as good, so I take {K}",
        f"At α = 0.8 the same k gives {speedup(0.8, 5, 0.05):.2f}",
        f"at 0.7 that is {0.7**20:.4f}",
        f"the first token comes out with {0.6 + 0.4 * 0.9:.2f}",
        f"{64 * 5} slots, or {2 * 64 * 5}",
    ],
}


@pytest.mark.parametrize(("page", "said"), [(page, s) for page in SAID for s in SAID[page]])
def test_numbers_come_from_the_equations(page: str, said: str) -> None:
    assert said in text_of(page)
