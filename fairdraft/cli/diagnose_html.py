"""A diagnosis as one HTML file: the verdict, the plots that explain it, and what was read.

Nothing is fetched and no script runs; colours follow the reader's system. Each plot has its values
in a table beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from fairdraft import __version__
from fairdraft.cli import diagnose_svg as svg
from fairdraft.cli.diagnose_figures import FIGURES, NOT_TOLD, rows
from fairdraft.economics.planning.case import MOST_WINDOWS, Case, Window, survivals
from fairdraft.economics.planning.diagnosis import PAYS
from fairdraft.economics.planning.losses import SOUND_RATE, SOUND_SHARE
from fairdraft.stats.intervals import Estimate

STYLE = """
:root { color-scheme: light dark;
  --ink: light-dark(#1c2126, #e4e7ea); --quiet: light-dark(#515a63, #a8b1ba);
  --paper: light-dark(#ffffff, #16191d); --raised: light-dark(#f3f5f7, #22272d);
  --rule: light-dark(#d5dade, #3a4149); --bar: light-dark(#7fb0e0, #2f6ca8);
  --line: light-dark(#0b5cad, #7fbcff); --even: light-dark(#b3261e, #ff9a91); }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { margin: 0; font-size: 1.35rem; } h2 { margin: 0 0 .4rem; font-size: 1.05rem; }
p { margin: .5rem 0; } .quiet, figcaption { color: var(--quiet); font-size: .9rem; }
code { font-size: .9em; overflow-wrap: anywhere; }
.verdict { margin: 1rem 0; padding: .5rem 1rem; background: var(--raised);
  border-left: 5px solid var(--line); }
.verdict strong { display: block; font-size: 1.1rem; }
.gain { font-size: 1.9rem; font-weight: 700; }
.gain small { font-size: 1rem; font-weight: 400; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr));
  gap: 1rem; margin: 1rem 0; align-items: start; }
section { padding: .8rem; border: 1px solid var(--rule); border-radius: .4rem; min-width: 0; }
figure { margin: 0; } svg { display: block; width: 100%; max-width: 30rem; height: auto; }
svg text { font: 14px system-ui, sans-serif; fill: var(--quiet); }
svg .strong { font-weight: 600; fill: var(--ink); } svg .even-text { fill: var(--even); }
.grid { stroke: var(--rule); } .axis { stroke: var(--quiet); } .bar { fill: var(--bar); }
.track { fill: var(--raised); stroke: var(--rule); } .whisker { stroke: var(--ink); }
.point { fill: var(--line); } .line { fill: none; stroke: var(--line); stroke-width: 2; }
.even { fill: none; stroke: var(--even); stroke-width: 2; stroke-dasharray: 6 4; }
.band { fill: var(--even); opacity: .14; }
table { border-collapse: collapse; margin-top: .6rem; width: 100%; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .2rem 0 .2rem .6rem; border-top: 1px solid var(--rule); text-align: right;
  vertical-align: top; font-weight: 400; }
th:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--quiet); border-top: 0; vertical-align: bottom; }
li { margin: .3rem 0; }
@media print { body { max-width: none; } section { break-inside: avoid; } }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # nothing is fetched, nothing runs


def page(case: Case) -> str:
    """Return the report of a case as HTML; the same case gives the same text."""
    plots = [_causes(case), _survival(case), _reach(case), _course(case)]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>Speculative decoding: a diagnosis</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>Does speculation pay here?</h1>
{_sources(case)}
{_verdict(case)}
<div class="plots">
{"".join(plots)}
</div>
{_read(case)}
</main>
<footer><p class="quiet">Made by <code>fairdraft diagnose</code>, version {escape(__version__)}.
Brackets and whiskers are 95% intervals.</p></footer>
</body>
</html>
"""


def _sources(case: Case) -> str:
    names = [_name(case.on.source, case.on.label)]
    if case.off is not None:
        names.append(_name(case.off.source, case.off.label))
    return f'<p class="quiet">With speculation: {", without: ".join(names)}</p>'


def _name(source: str, label: str) -> str:
    """Return a file's name; `bdi` keeps letters that turn the writing around to themselves."""
    return f"<bdi><code>{escape(source)}{escape('#' + label) if label else ''}</code></bdi>"


def _verdict(case: Case) -> str:
    parts = []
    if case.found is not None:
        gain = case.found.gain
        parts.append(
            f'<p class="gain">{gain.value:.2f}× <small>[{gain.low:.2f}, {gain.high:.2f}] tokens a '
            "second, with speculation over without</small></p>"
        )
    sentences, advice = case.verdict, case.advice
    plain = len(sentences) - len(advice)
    parts += [f"<p>{escape(each)}</p>" for each in sentences[:plain]]
    for sentence, remedy in zip(sentences[plain:], advice, strict=True):
        parts.append(f"<p><strong>{escape(sentence)}</strong> {escape(remedy)}</p>")
    return f'<div class="verdict">{"".join(parts)}</div>'


def _causes(case: Case) -> str:
    if case.found is None or not case.found.causes:
        return ""
    causes = case.found.causes
    label = "Share of the slowdown by cause: " + ", ".join(
        f"{each.name} {each.share.value:.0%}" for each in causes
    )
    caption = (
        "What this run lacks of a sound run's speed, shared out among its causes. A sound run of "
        f"the same requests has a draft in {SOUND_SHARE:.0%} of steps, {SOUND_RATE:.0%} of each "
        "position standing, and rows and drafts free."
    )
    lines = [
        (
            each.name,
            [
                _interval(each.share, ".0%"),
                f"{each.chance:.0%}",
                ", ".join(each.hides) or "nothing",
            ],
        )
        for each in causes
    ]
    head = ("cause", "share", "chance it is largest", "looks the same")
    plot = svg.bars([(each.name, each.share) for each in causes], label)
    pays = case.found.named[0].name == PAYS
    title = "What keeps it from more" if pays else "What slows it down"
    return _section(title, plot, caption, _table(head, lines))


def _survival(case: Case) -> str:
    rates = survivals(case.on)
    if not rates:
        return ""
    label = "Share of rounds in which each position stands: " + ", ".join(
        f"{i}: {each.value:.0%}" for i, each in enumerate(rates, 1)
    )
    caption = (
        "How often the draft stands up to each position, out of the rounds that drafted so far. "
        "A first position that is weak beside the others points to what the drafter is given."
    )
    lines = [(str(i), [_interval(each, ".0%")]) for i, each in enumerate(rates, 1)]
    table = _table(("position", "stands"), lines)
    return _section("How far drafts stand", svg.survival(rates, label), caption, table)


def _reach(case: Case) -> str:
    tokens, found = case.tokens, case.found
    most = 1 + case.on.k * case.on.draft_share
    needed = None if found is None else found.break_even
    lines = [("measured", [_interval(tokens, ".2f")]), ("had all drafts stood", [f"{most:.2f}"])]
    label = f"Tokens a step: {tokens.value:.2f} measured, {most:.2f} had all drafts stood"
    caption = "From 1 without speculation to what these steps had written, had all drafts stood."
    if needed is not None:
        label += f", {needed:.2f} needed to break even"
        caption += (
            " Break-even is the step's time with speculation over the one without. Prompts that "
            "steps carry are in both as they were read; the verdict above takes as many in both."
        )
        lines.insert(1, ("break-even", [f"{needed:.2f}"]))
    plot = svg.reach(tokens, most, needed, label)
    return _section("Tokens a step", plot, caption, _table(("", "tokens a step"), lines))


def _course(case: Case) -> str:
    windows = case.windows
    if not windows:
        return ""
    label = f"Tokens a step over {len(windows)} windows, from {windows[0].tokens.value:.2f} to "
    label += f"{windows[-1].tokens.value:.2f}"
    paired = case.off is not None
    caption = "Window by window."
    if paired:
        caption = "Window by window: it pays where tokens a step lie above break-even."
    if len(case.on.windows) > MOST_WINDOWS:
        caption += f" The log's {len(case.on.windows)} windows are put together, neighbours first."
    head = ("", "rounds", "running", "tokens a step", "step, ms", "break-even")
    lines = [(str(i), _cells(each, paired)) for i, each in enumerate(windows, 1)]
    table = _table(head if paired else head[:-1], lines)
    return _section("Over time", svg.course(windows, label), caption, table)


def _cells(window: Window, paired: bool) -> list[str]:
    running, step, needed = window.requests, window.step_seconds, window.needed
    cells = [
        f"{window.rounds:,.0f}",
        NOT_TOLD if running is None else f"{running:,.0f}",
        f"{window.tokens.value:.2f}",
        NOT_TOLD if step is None else f"{step * 1e3:,.1f}",
    ]
    if paired:
        cells.append(NOT_TOLD if needed is None else f"{needed.value:.2f}")
    return cells


def _read(case: Case) -> str:
    readings = [each for each in (case.on, case.off) if each is not None]
    every = rows(readings, list(FIGURES))
    told = [(name, cells) for name, cells in every if set(cells) != {NOT_TOLD}]
    silent = [name for name, cells in every if set(cells) == {NOT_TOLD}]
    head = ("", "with", "without")[: 1 + len(readings)]
    parts = [f"<section><h2>What was read</h2>{_table(head, told)}"]
    if silent:
        parts.append(f'<p class="quiet">Not told: {escape("; ".join(silent))}.</p>')
    if case.notes:
        notes = "".join(f"<li>{escape(note)}</li>" for note in case.notes)
        parts.append(f"<h2>What to know of it</h2><ul>{notes}</ul>")
    return "".join([*parts, "</section>"])


def _section(title: str, plot: str, caption: str, table: str) -> str:
    return (
        f"<section><h2>{escape(title)}</h2><figure>{plot}"
        f"<figcaption>{escape(caption)}</figcaption></figure>{table}</section>\n"
    )


def _table(head: Sequence[str], lines: Sequence[tuple[str, Sequence[str]]]) -> str:
    top = "".join(f'<th scope="col">{escape(each)}</th>' for each in head)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, cells in lines
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _interval(estimate: Estimate, form: str) -> str:
    low, high = (format(each, form) for each in (estimate.low, estimate.high))
    return f"{format(estimate.value, form)} [{low},\N{NO-BREAK SPACE}{high}]"
