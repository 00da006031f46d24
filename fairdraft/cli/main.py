"""The entry point of the command `fairdraft`."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from fairdraft import __version__
from fairdraft.cli import bench, train
from fairdraft.cli.demo import demo
from fairdraft.cli.diagnose import diagnose
from fairdraft.cli.generate import generate
from fairdraft.cli.inspect import inspect
from fairdraft.cli.outputs import exit_codes
from fairdraft.cli.plan import plan
from fairdraft.cli.profile import profile
from fairdraft.cli.prove import prove
from fairdraft.cli.reconcile import reconcile
from fairdraft.cli.replay import replay

app = typer.Typer(
    name="fairdraft",
    help="Lossless speculative decoding: the same words sooner, and what they cost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # main() catches bad input; a bug shows its plain traceback
    rich_markup_mode="markdown",
)
app.command()(generate)
app.command()(demo)
app.command()(prove)
app.command()(inspect)
app.command()(profile)
app.command()(plan)
app.command()(reconcile)
app.command()(replay)
app.command()(diagnose)
app.add_typer(bench.app, name="bench")
app.add_typer(train.app, name="train")


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
