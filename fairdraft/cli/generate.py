"""`fairdraft generate`: complete one prompt and show which words were drafted."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from rich.console import Console

from fairdraft.bench.measurement import record
from fairdraft.cli.options import (
    Device,
    DraftLength,
    Dtype,
    MaxModelLen,
    MaxTokens,
    Method,
    Model,
    SpeculativeJson,
    encode_prompt,
    load_llm,
    require_text,
    speculative_config,
)
from fairdraft.cli.outputs import require_writable
from fairdraft.cli.render import Painter, can_colour, escaped, summary
from fairdraft.config import SamplingParams


def generate(
    prompt: Annotated[str, typer.Argument(help="The text; - reads it from stdin.")] = "-",
    model: Model = "demo",
    method: Method = "ngram",
    num_speculative_tokens: DraftLength = 4,
    speculative_json: SpeculativeJson = None,
    spec: Annotated[bool, typer.Option(help="--no-spec is --method none.")] = True,
    max_tokens: MaxTokens = 256,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="1 keeps every token.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="0 keeps every token.")] = 0,
    min_p: Annotated[float, typer.Option(help="0 keeps every token.")] = 0.0,
    seed: Annotated[int | None, typer.Option(help="Fixes every draw.")] = None,
    chat: Annotated[
        bool | None, typer.Option(help="Through the chat template; default: if there is one.")
    ] = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    max_model_len: MaxModelLen = None,
    trace: Annotated[Path | None, typer.Option(help="File for a step trace, JSON lines.")] = None,
    color: Annotated[bool, typer.Option("--color/--no-color", help="NO_COLOR counts too.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, and nothing else, at the end.")
    ] = False,
) -> None:
    """Complete a prompt: accepted drafts in green, rejected ones struck out in red.

    The text goes to stdout, the line with the figures to stderr.
    """
    text = _read_prompt(prompt)
    params = SamplingParams(
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        seed=seed,
        max_tokens=max_tokens,
    )
    if trace is not None:
        require_writable("--trace", trace)
    config = speculative_config(
        method if spec else "none", num_speculative_tokens, speculative_json if spec else None
    )
    llm = load_llm(
        model,
        speculative_config=config,
        trace=trace,
        dtype=dtype,
        device=device,
        max_model_len=max_model_len,
    )
    colour = color and can_colour(Console())
    painter = Painter(llm.tokenizer)
    try:
        events = llm.stream(encode_prompt(llm, text, chat), params)
        start = perf_counter()
        for event in events:
            if not as_json:
                sys.stdout.write(escaped(painter.pieces(event)) if colour else event.text)
                sys.stdout.flush()
        seconds = perf_counter() - start
    except KeyboardInterrupt:
        print()  # so that the shell's prompt does not end the text
        raise
    finally:
        llm.close()
    output = event.output.outputs[0]
    if as_json:
        result = {
            "text": output.text,
            "token_ids": output.token_ids,
            "finish_reason": output.finish_reason,
            "lossless": output.lossless,
            "spec": record(output.spec),
            "seconds": seconds,
        }
        print(json.dumps(result))
        return
    print(flush=True)
    line = summary(len(output.token_ids), seconds, output.spec, config is not None)
    print(line, file=sys.stderr)
    if not output.lossless:
        note = "not lossless: acceptance was synthetic, and this is not what the target would say"
        print(note, file=sys.stderr)


def _read_prompt(prompt: str) -> str:
    """The prompt itself, or stdin without the line break that ends it."""
    if prompt == "-":
        if sys.stdin.isatty():
            print("Type the prompt; Ctrl-D ends it.", file=sys.stderr)
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")  # require_text refuses it by name
        prompt = sys.stdin.read().removesuffix("\n")
    require_text(prompt)
    return prompt
