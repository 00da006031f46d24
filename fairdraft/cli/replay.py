"""`fairdraft replay`: the same traffic under other policies, in seconds."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from fairdraft.cli.options import words
from fairdraft.errors import ConfigError, ReadingError

if TYPE_CHECKING:
    from fairdraft.economics.autopilot.draft_potential import TracedText
    from fairdraft.economics.autopilot.policies import Policy
    from fairdraft.economics.costs.profile import Profile

ORACLE, AUTO = "oracle", "auto"
LOOKUPS = ("ngram", "suffix")  # of our own methods; to ask their classes would import the engine


def replay(
    traces: Annotated[
        list[Path], typer.Argument(help="Step traces of one method with long drafts.")
    ],
    method: Annotated[str, typer.Option(help="Whose drafts they hold.")],
    profile: Annotated[Path, typer.Option(help="What `fairdraft profile` wrote.")],
    policy: Annotated[
        str | None,
        typer.Option(
            help='Draft lengths, "auto" and "oracle", with commas between; by default all of them.'
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Texts at once.")] = 1,
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Price what was not profiled too.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Take a profile of another machine all the same.")
    ] = False,
) -> None:
    """Write traced texts again under each policy, priced by a profile; nothing is run.

    Several traces are several kinds of traffic, one after the other. A policy cannot draft further
    than the trace did. The oracle knows what will stand, and does what is best step by step.
    """
    from fairdraft.economics.autopilot.draft_potential import read_trace
    from fairdraft.economics.autopilot.replay import replay as write_again
    from fairdraft.economics.costs.profile import Profile
    from fairdraft.telemetry.environment import benchmark_environment

    lookup = _is_lookup(method)
    texts: list[TracedText] = []
    for path in traces:
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ReadingError(f"{str(path)!r} cannot be read ({error}): name a trace") from None
        texts += read_trace(lines, str(path), path.stem, lookup)
    found = Profile.load(profile)
    if not force:
        found.require_hardware(benchmark_environment())
    traced = max(int(text.found.max()) for text in texts)
    if policy is None:
        lengths = [str(k) for k in (1, 2, 4, 8, 16) if k <= traced]
        policy = ",".join([*lengths, AUTO, ORACLE])
    results = {
        name: write_again(
            texts,
            _policy(name, method, lookup, found, traced),
            found,
            method,
            concurrency,
            extrapolate,
        )
        for name in dict.fromkeys(["0", *words(policy)])
    }
    plain = results["0"]
    best = max(results[name].rate for name in results if name not in (AUTO, ORACLE))
    table = Table(title=f"{method}, {len(texts)} texts, {concurrency} at once")
    for column in ("policy", "tok/s", "speedup", "of best k", "tokens a step", "switches"):
        table.add_column(column, justify="left" if column == "policy" else "right")
    for name, result in results.items():
        table.add_row(
            name if name in (AUTO, ORACLE) else f"k = {name}",
            f"{result.rate:.1f}",
            f"{result.rate / plain.rate:.3f}",
            f"{result.rate / best:.3f}",
            f"{result.tokens / result.steps / concurrency:.2f}",
            str(result.switches),
        )
    Console().print(table)


def _is_lookup(method: str) -> bool:
    """Tell whether a method's drafts end where what it found ends.

    Raises:
        ConfigError: no such method.
    """
    methods = {point.name: point for point in sorted(entry_points(group="fairdraft.proposers"))}
    if method not in methods:
        raise ConfigError(f"method {method!r} is unknown: installed are {', '.join(methods)}")
    if methods[method].module.startswith("fairdraft."):
        return method in LOOKUPS
    return bool(methods[method].load().is_lookup)


def _policy(name: str, method: str, lookup: bool, profile: Profile, traced: int) -> Policy:
    """Return the policy that a word names.

    Raises:
        ConfigError: no such policy, or one that drafts further than the trace.
    """
    from fairdraft.economics.autopilot.policies import Auto, Oracle, Static
    from fairdraft.economics.costs.live_costs import LiveCosts

    if name in (AUTO, ORACLE):
        k = max(traced, 1)  # where nothing was found, it is still looked for
        drafters = {} if lookup else {method: profile.drafter(method)}
        costs = LiveCosts(profile.step, drafters, k)
        if name == AUTO:
            return Auto(costs, method, lookup, k)
        return Oracle(costs, None if lookup else method, k)
    if not (name.isascii() and name.isdigit() and len(name) < 10):
        raise ConfigError(
            f"--policy has {name!r}: give draft lengths, {AUTO!r} and {ORACLE!r}, with commas"
        )
    if int(name) > traced:
        raise ConfigError(
            f"--policy asks for k = {name}, but the trace drafted {traced} tokens at most: trace "
            "with longer drafts, or leave it out"
        )
    return Static(int(name))
