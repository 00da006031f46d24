"""`fairdraft demo`: the same words, sooner? One text that repeats itself and one that does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from fairdraft.bench.grid import NO_SPECULATION
from fairdraft.bench.measurement import Measurement, measure
from fairdraft.cli.options import (
    Device,
    DraftLength,
    Dtype,
    MaxTokens,
    Method,
    Model,
    SpeculativeJson,
    encode_prompt,
    load_llm,
    speculative_config,
)
from fairdraft.cli.outputs import require_writable, write_output
from fairdraft.cli.render import Painter, Piece, can_colour, rich_text
from fairdraft.config import SamplingParams, require, require_int
from fairdraft.economics.planning.forecast import Forecast

if TYPE_CHECKING:
    from fairdraft.llm import LLM

CODE = """\
def area(shape):
    if shape.kind == "circle":
        return 3.14159 * shape.radius * shape.radius
    if shape.kind == "square":
        return shape.side * shape.side
    if shape.kind == "rectangle":
        return shape.width * shape.height
    if shape.kind == "triangle":
        return shape.base * shape.height / 2
"""
TEXTS = {
    "repeating text": f"Add type hints to this code:\n```python\n{CODE}```",
    "new text": "Tell me a short story about a lighthouse keeper and a whale.",
}
TERMS = """\
draft cost c = time to draft a token / time of a step off
verify growth = time of a step on, drafting aside / time of a step off
predicted speedup = expected tokens per step
                  / (verify growth + c × mean draft length × steps with a draft)"""
WORTH = 1.05  # a smaller gain or loss is within what a busy machine does by itself


@dataclass
class Side:
    """One text with speculation off or on.

    Args:
        token_ids: what was written.
        pieces: the same as text, by who said it.
        rounds: the timed runs.
    """

    token_ids: list[int]
    pieces: list[Piece]
    rounds: list[Measurement] = field(default_factory=list)

    @property
    def tokens_per_second(self) -> float:
        """Median over the rounds."""
        return median(run.tokens_per_second for run in self.rounds)

    @property
    def typical(self) -> Measurement:
        """The round of median speed."""
        return sorted(self.rounds, key=lambda run: run.tokens_per_second)[len(self.rounds) // 2]

    @property
    def whole(self) -> Measurement:
        """All rounds together."""
        total = Measurement()
        for run in self.rounds:
            total.add(run)
        return total


@dataclass
class Comparison:
    """One text, written without and with speculation."""

    name: str
    off: Side
    on: Side

    @property
    def ratios(self) -> list[float]:
        """Tokens per second on / off, of each round: a slow minute slows both."""
        pairs = zip(self.on.rounds, self.off.rounds, strict=True)
        return [on.tokens_per_second / off.tokens_per_second for on, off in pairs]

    @property
    def speedup(self) -> float:
        """Median of the rounds' ratios."""
        return median(self.ratios)

    @property
    def pays(self) -> bool:
        """Whether it is faster, in every round and by more than a machine varies by itself."""
        return self.speedup >= WORTH and min(self.ratios) > 1

    @property
    def costs(self) -> bool:
        """Whether it is slower, likewise."""
        return self.speedup <= 1 / WORTH and max(self.ratios) < 1

    @property
    def forecast(self) -> Forecast:
        """What the equation makes of it."""
        on = self.on.typical
        return Forecast.of(self.off.typical.times, on.times, on.counters)


def demo(
    model: Model = "demo",
    method: Method = "ngram",
    num_speculative_tokens: DraftLength = 4,
    speculative_json: SpeculativeJson = None,
    max_tokens: MaxTokens = 128,
    rounds: Annotated[int, typer.Option(help="Timed runs of each; medians are shown.")] = 3,
    dtype: Dtype = "bfloat16",
    device: Device = "auto",
    svg: Annotated[
        Path | None, typer.Option(help="Also save what the terminal shows as a picture.")
    ] = None,
) -> None:
    """Write two texts with speculation off and on, side by side, and say what it is worth.

    Each text is written once to warm up, then off and on take turns. The prompt is read before the
    clock starts and its KV is reused, so the figures are those of decoding. No round drafts from
    what another round wrote.
    """
    require_int("--rounds", rounds, 1, "3 is usual")
    require(method != NO_SPECULATION, "--method is 'none': the demo needs a proposer, try ngram")
    config = speculative_config(method, num_speculative_tokens, speculative_json)
    params = SamplingParams(temperature=0, max_tokens=max_tokens)
    if svg is not None:
        require_writable("--svg", svg)
    console = Console(record=svg is not None)
    off = load_llm(model, dtype=dtype, device=device)
    on = load_llm(model, dtype=dtype, device=device, speculative_config=config)
    results = []
    for name, prompt in TEXTS.items():
        results.append(compare(name, off, on, encode_prompt(off, prompt), params, rounds))
        show_texts(console, prompt, results[-1])
    console.print(figures(results))
    console.print(f"{TERMS}\n\n{advice(results)}", highlight=False)
    if svg is not None:
        title = "fairdraft demo"
        write_output("--svg", svg, lambda path: console.save_svg(str(path), title=title))


def compare(
    name: str, off: LLM, on: LLM, prompt: Sequence[int], params: SamplingParams, rounds: int
) -> Comparison:
    """Write a text off and on, once to look at and to warm up, then `rounds` times by the clock."""
    columns = (TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"Writing {name}", total=2 * (rounds + 1))
        sides = []
        for llm in (off, on):
            sides.append(_write(llm, prompt, params))
            progress.advance(task)
        for number in range(rounds):
            salt = f"round-{number}"  # or methods that remember would know the text by heart
            for llm, side in zip((off, on), sides, strict=True):
                measure(llm, [prompt], replace(params, max_tokens=1), salt)
                side.rounds.append(measure(llm, [prompt], params, salt))
                progress.advance(task)
    return Comparison(name, *sides)


def _write(llm: LLM, prompt: Sequence[int], params: SamplingParams) -> Side:
    painter = Painter(llm.tokenizer)
    pieces: list[Piece] = []
    for event in llm.stream({"prompt_token_ids": prompt}, params):
        pieces.extend(painter.pieces(event))
    return Side(event.output.outputs[0].token_ids, pieces)


def show_texts(console: Console, prompt: str, result: Comparison) -> None:
    """Both outputs side by side, and whether they are the same tokens."""
    colour = can_colour(console)
    console.rule(Text(result.name, "bold"), align="left")
    console.print(Text(prompt, "dim"), soft_wrap=True)
    table = Table(box=box.SIMPLE, expand=True)
    for side in ("off", "on"):
        table.add_column(f"speculation {side}", ratio=1, overflow="fold")
    table.add_row(rich_text(result.off.pieces, colour), rich_text(result.on.pieces, colour))
    console.print(table)
    if colour:
        console.print(
            "[green]accepted drafts[/], [red strike]rejected drafts[/], the target's own tokens"
        )
    console.print(identity(result.off.token_ids, result.on.token_ids) + "\n", highlight=False)


def identity(off: Sequence[int], on: Sequence[int]) -> str:
    """Whether two outputs are the same tokens, and where they part if not."""
    if off == on:
        return f"The {len(off)} token ids are identical."
    same = next(
        (i for i, (a, b) in enumerate(zip(off, on, strict=False)) if a != b),
        min(len(off), len(on)),
    )
    return (
        f"The token ids are the same up to number {same} and differ after it: in half precision "
        "rounding can decide between two all but equally likely tokens; see --dtype float32."
    )


def figures(results: Sequence[Comparison]) -> Table:
    """What was measured and what the equation says, one column a text."""
    table = Table(box=box.SIMPLE)
    table.add_column(no_wrap=True)
    for result in results:
        table.add_column(result.name, justify="right", no_wrap=True)
    forecasts = [result.forecast for result in results]
    counters = [result.on.whole.counters for result in results]

    def row(name: str, values: Sequence[float], form: str = ".2f") -> None:
        table.add_row(name, *(format(value, form) for value in values))

    row("tokens/s, off", [result.off.tokens_per_second for result in results], ".1f")
    row("tokens/s, on", [result.on.tokens_per_second for result in results], ".1f")
    row("measured speedup", [result.speedup for result in results])
    row("  slowest round", [min(result.ratios) for result in results])
    row("  fastest round", [max(result.ratios) for result in results])
    table.add_section()
    row("mean acceptance length", [each.mean_acceptance_length for each in counters])
    row("alpha (one token's acceptance rate)", [each.alpha for each in forecasts])
    row("steps with a draft", [each.share_drafted for each in forecasts], ".0%")
    row("mean draft length", [each.draft_length for each in forecasts])
    row("expected tokens per step", [each.tokens_per_step for each in forecasts])
    row("draft cost c", [each.draft_cost for each in forecasts], ".4f")
    row("verify growth", [each.verify_growth for each in forecasts])
    row("predicted speedup", [each.speedup for each in forecasts])
    return table


def advice(results: Sequence[Comparison]) -> str:
    """One sentence: whether to leave speculation on."""

    def named(some: Sequence[Comparison]) -> str:
        return " and ".join(f"{each.name} ({each.speedup:.2f}×)" for each in some)

    gains = [each for each in results if each.pays]
    losses = [each for each in results if each.costs]
    if gains and losses:
        return f"Leave it on for {named(gains)} and off for {named(losses)}."
    if gains:
        others = "" if len(gains) == len(results) else " and makes no clear difference elsewhere"
        return f"Leave it on: it pays for {named(gains)}{others}."
    if losses:
        return f"Leave it off: it costs time for {named(losses)} and pays nowhere."
    return f"Leave it on or off as you like: it makes no clear difference for {named(results)}."
