"""The entry point of the command `fairdraft`. A verb's code is imported when it is asked for."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from fairdraft import __version__
from fairdraft.cli.outputs import exit_codes


class Verb(NamedTuple):
    """Where a verb is, as module:attribute, and its line in the list of verbs."""

    place: str
    summary: str


VERBS = {
    "advise": Verb("advise:advise", "Measure a model here; say whether and how to speculate."),
    "generate": Verb("generate:generate", "Continue a prompt, with speculation or without."),
    "demo": Verb("demo:demo", "Show a real model with speculation off and on, side by side."),
    "prove": Verb("prove:prove", "Prove on exact fractions that verification is lossless."),
    "inspect": Verb("inspect:inspect", "Say what a model or a drafter is, and whether it fits."),
    "profile": Verb("profile:profile", "Measure what steps and drafts cost on this machine."),
    "plan": Verb("plan:plan", "Choose the draft length for every load, with what it is worth."),
    "reconcile": Verb("reconcile:reconcile", "Put predictions beside a measured run, and explain."),
    "replay": Verb("replay:replay", "Decode traced texts again under other draft lengths."),
    "diagnose": Verb("diagnose:diagnose", "Find out why speculation does not pay."),
    "bench": Verb("bench:app", "Measure a grid of settings, and draw what came out."),
    "train": Verb("train:app", "Train a drafter for a model, on its own answers."),
}


class LazyGroup(TyperGroup):
    """The list of verbs, each of which is loaded when it is run or asked for its help."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the verb's name, the loaded verb and its words."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in VERBS else found, rest


def load(name: str) -> Any:
    """Import a verb and return its command."""
    module, _, attribute = VERBS[name].place.partition(":")
    found = getattr(import_module(f"fairdraft.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        return typer.main.get_group(found)
    alone = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    alone.command(name)(found)
    return typer.main.get_command(alone)


app = typer.Typer(
    name="fairdraft",
    cls=LazyGroup,
    help="Lossless speculative decoding: the same words sooner, and what they cost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # main() catches bad input; a bug shows its plain traceback
    rich_markup_mode=None,  # rich would take longer to import than all the rest
)
for _name, _verb in VERBS.items():
    app.command(_name, help=_verb.summary)(lambda: None)  # LazyGroup puts the verb in its place


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    pass


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: the words after `fairdraft`; None takes the process's own.

    Raises:
        SystemExit: always; the codes are in `exit_codes`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal cannot show becomes "?"
            stream.reconfigure(errors="replace")
    with exit_codes():
        app(args)
