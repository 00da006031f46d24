"""`fairdraft diagnose`: why a run is slower although so much is accepted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fairdraft.cli.outputs import require_writable, write_json, write_output
from fairdraft.errors import ConfigError

if TYPE_CHECKING:
    from fairdraft.economics.planning.case import Case
    from fairdraft.peers import Reading

STDOUT = Path("-")
HOST = re.compile(r"[\w.-]+:\d{1,5}(/\S*)?")


def diagnose(
    spec: Annotated[str, typer.Argument(help="File or http address, with speculation.")],
    baseline: Annotated[
        str | None, typer.Option(help="The same without it; a file, or an address too.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="Between two scrapes, where an address is given.")
    ] = 10.0,
    watch: Annotated[
        bool, typer.Option("--watch", help="Ask an address again and again, until Ctrl-C.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(help='Where all figures go as JSON; "-": alone on stdout.')
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Where a report with plots goes, as one file.")
    ] = None,
) -> None:
    """Say what a step takes with and without speculation, what that asks of a drafter, the likely
    cause, and what to try next.

    Read are logs of vLLM, SGLang and llama.cpp, results of their benchmarks, of AIPerf and
    GuideLLM, /metrics pages (an address is asked twice; BEFORE,AFTER are two saved ones), answers
    with counts, and fairdraft's own results and step traces. FILE#LABEL picks one of several
    measurements in a file. Without a baseline it says what one run alone tells.
    """
    from fairdraft.peers.servers import require_wait

    for option, path in (("--json", json), ("--html", html)):
        if path is not None and path != STDOUT:
            require_writable(option, path)
    if html == STDOUT:
        raise ConfigError('--html is "-", but a report goes to a file: name one, such as x.html')
    require_wait(seconds)
    case = _watched(spec, baseline, seconds, json == STDOUT) if watch else None
    if not watch:
        case = _read(spec, baseline, seconds)
    if case is not None:
        _show(case, json, html)


def _read(spec: str, baseline: str | None, seconds: float) -> Case:
    """Return the case of two sources; servers are asked over the same stretch of time."""
    from fairdraft.economics.planning.case import judge
    from fairdraft.peers.servers import is_address, scrape_all

    sources = [spec] if baseline is None else [spec, baseline]
    found = {each: _file(each) for each in sources if not is_address(each)}
    urls = [each for each in dict.fromkeys(sources) if is_address(each)]
    found |= dict(zip(urls, scrape_all(urls, seconds), strict=True))
    return judge(found[spec], None if baseline is None else found[baseline])


def _file(source: str) -> Reading:
    """Read a file; a host without http:// is told."""
    from fairdraft.peers import read

    if HOST.fullmatch(source) and not Path(source).exists():
        raise ConfigError(f"{source!r} is no file: of a server, give http://{source}")
    return read(source)


def _watched(spec: str, baseline: str | None, seconds: float, quiet: bool) -> Case | None:
    """Watch a server until Ctrl-C; None if nothing could be judged until then."""
    from fairdraft.cli.diagnose_watch import Watch
    from fairdraft.peers.servers import is_address

    if not is_address(spec):
        raise ConfigError(f"--watch asks a server, but {spec!r} is none: give http://HOST:PORT")
    plain = baseline if baseline is None or is_address(baseline) else _file(baseline)
    watch = Watch(spec, plain)
    watch.run(seconds, Console(stderr=quiet))
    return watch.case()


def _show(case: Case, json: Path | None, html: Path | None) -> None:
    if json == STDOUT:
        from json import dumps

        from fairdraft.economics.planning.case_record import case_record

        print(dumps(case_record(case)))
    else:
        from fairdraft.cli.diagnose_text import show

        show(case, Console())
    if json is not None and json != STDOUT:
        from fairdraft.economics.planning.case_record import case_record

        record = case_record(case)
        write_output("--json", json, lambda path: write_json(path, record))
        print(f"Written to {json}")
    if html is not None:
        from fairdraft.cli.diagnose_html import page

        text = page(case)
        write_output("--html", html, lambda path: path.write_text(text, "utf-8", "replace"))
        if json != STDOUT:
            print(f"Written to {html}")
