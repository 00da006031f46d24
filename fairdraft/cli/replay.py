"""`fairdraft replay`: the same traffic under other policies, in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from fairdraft.cli.options import words
from fairdraft.errors import ConfigError, ReadingError

if TYPE_CHECKING:
    from fairdraft.economics.costs.profile import Profile
    from fairdraft.economics.policies import Policy
    from fairdraft.economics.traced import Text

ORACLE, AUTO = "oracle", "auto"


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
) -> None:
    """Write traced texts again under each policy, priced by a profile; nothing is run.

    Several traces are several kinds of traffic, one after the other. A policy cannot draft further
    than the trace did. The oracle knows what will stand, and does what is best step by step.
    """
    from fairdraft.economics.costs.profile import Profile
    from fairdraft.economics.replay import replay as write_again
    from fairdraft.economics.traced import read_trace

    lookup = _is_lookup(method)
    texts: list[Text] = []
    for path in traces:
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ReadingError(f"{str(path)!r} cannot be read ({error}): name a trace") from None
        texts += read_trace(lines, str(path), path.stem, lookup)
    found = Profile.load(profile)
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
    """Whether a method's drafts end where what it found ends.

    Raises:
        ConfigError: no such method.
    """
    from fairdraft.proposers import known_methods

    methods = known_methods()
    if method not in methods:
        raise ConfigError(f"method {method!r} is unknown: installed are {', '.join(methods)}")
    return bool(methods[method].load().is_lookup)


def _policy(name: str, method: str, lookup: bool, profile: Profile, traced: int) -> Policy:
    """A policy by its word.

    Raises:
        ConfigError: no such policy, or one that drafts further than the trace.
    """
    from fairdraft.economics.policies import Auto, Oracle, Static
    from fairdraft.economics.prices import Prices

    if name in (AUTO, ORACLE):
        prices = Prices(profile.step, {} if lookup else {method: profile.drafter(method)}, traced)
        if name == AUTO:
            return Auto(prices, method, lookup, traced)
        return Oracle(prices, None if lookup else method, traced)
    if not name.isdigit():
        raise ConfigError(
            f"--policy has {name!r}: give draft lengths, {AUTO!r} and {ORACLE!r}, with commas"
        )
    if int(name) > traced:
        raise ConfigError(
            f"--policy asks for k = {name}, but the trace drafted {traced} tokens at most: trace "
            "with longer drafts, or leave it out"
        )
    return Static(int(name))
