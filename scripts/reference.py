"""The generated parts of the docs: options of the command line, keys, counters, file formats.

A part stands between `<!-- NAME: made by `make tables` -->` and `<!-- end of NAME -->`; everything
between is replaced. tests/docs/test_reference.py fails while a page says something else.

    python -m scripts.reference     rewrite the parts
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import typer
from pydantic import TypeAdapter

from fairdraft.cli.main import VERBS
from fairdraft.config import EngineConfig, SamplingParams, SpeculativeConfig
from fairdraft.peers.formats import JSON_FORMATS, TEXT_FORMATS, Format
from fairdraft.proposers import known_methods
from fairdraft.proposers.options import DraftOptions
from fairdraft.telemetry import SpecCounters, StepTimes
from scripts.markdown import ROOT, between

FOLDER = ROOT / "docs" / "reference"
PAGES = (*sorted(FOLDER.glob("*.md")), ROOT / "docs" / "formats.md")
SHARED_KEYS = "num_speculative_tokens"  # of every method: it is one of SpeculativeConfig's


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown; a bar in a cell is escaped."""
    head = list(header)
    lines = [head, ["---"] * len(head), *([_cell(each) for each in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip().replace("|", "\\|")
    return re.sub(r"(?<![\w`-])(--[a-z][a-z-]+)(?!`)", r"`\1`", text)  # an option in a sentence


# ---- the command line ---------------------------------------------------------------------------

TYPES = {str: "TEXT", int: "INTEGER", float: "FLOAT", Path: "PATH"}


def command_line() -> str:
    """Write a section for every verb, from the annotations that typer makes its options of."""
    parts = []
    for name, verb in VERBS.items():
        module, _, attribute = verb.place.partition(":")
        found = getattr(import_module(f"fairdraft.cli.{module}"), attribute)
        words = f"fairdraft {name}"
        if not isinstance(found, typer.Typer):
            parts.append(_verb("##", words, found))
            continue
        parts.append(f"## `{words}`\n\n{found.info.help}")
        for command in found.registered_commands:
            assert command.callback is not None
            below = command.name or command.callback.__name__.replace("_", "-")
            parts.append(_verb("###", f"{words} {below}", command.callback))
    return "\n\n".join(parts)


def _verb(level: str, words: str, function: Callable[..., Any]) -> str:
    hints = get_type_hints(function, include_extras=True)
    usage, rows = [words], []
    options: list[tuple[str, str, str]] = []
    for name, parameter in inspect.signature(function).parameters.items():
        given, info = get_args(hints[name])
        if info.hidden:
            continue
        kinds = [each for each in (get_args(given) or (given,)) if each is not type(None)]
        several = any(get_origin(each) is list for each in (given, *kinds))
        kind = next(each for each in (*get_args(kinds[0]), *kinds) if each in (*TYPES, bool))
        default = parameter.default
        if isinstance(info, typer.models.ArgumentInfo):
            shown = (info.metavar or name).upper() + ("…" if several else "")
            usage.append(shown if default is parameter.empty else f"[{shown}]")
            rows.append((f"`{shown}`", _default(default), info.help or ""))
            continue
        # Behind `Annotated`, typer takes the first spelling for a default.
        declared = [each for each in (info.default, *(info.param_decls or ())) if each is not ...]
        spelled = [part for each in declared for part in str(each).split("/")]
        if not spelled:
            dashed = name.replace("_", "-")
            spelled = [f"--{dashed}", *([f"--no-{dashed}"] if kind is bool else [])]
        value = "" if kind is bool else f" `{info.metavar or TYPES[kind]}`"
        again = ", repeatable" if several else ""
        text = ", ".join(f"`{each}`" for each in spelled) + value + again
        options.append((text, _default(default, spelled), info.help or ""))
    usage += ["[OPTIONS]"] if options else []
    says = f"```text\n{' '.join(usage)}\n```"
    listed = table(("option", "default", "what"), [*rows, *options])
    return "\n\n".join([f"{level} `{words}`", _paragraphs(function), says, listed])


def _paragraphs(function: Callable[..., Any]) -> str:
    paragraphs = re.split(r"\n\s*\n", inspect.getdoc(function) or "")
    return "\n\n".join(re.sub(r"\s+", " ", each).strip() for each in paragraphs)


def _default(value: Any, spelled: Sequence[str] = ()) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"`{spelled[0 if value else -1]}`" if len(spelled) > 1 else "off"
    return f"`{value}`"


# ---- keys of configs ----------------------------------------------------------------------------


def keys(config: type[Any]) -> str:
    """Write a row for every key of a config, from its JSON schema."""
    schema = TypeAdapter(config).json_schema()
    required = set(schema.get("required", ()))
    rows = [
        (
            f"`{name}`",
            _values(each, schema.get("$defs", {})),
            "required" if name in required else _python(each.get("default", {})),
            each.get("description", ""),
        )
        for name, each in schema["properties"].items()
    ]
    return table(("key", "values", "default", "what"), rows)


def _values(schema: dict[str, Any], known: dict[str, Any]) -> str:
    """What a schema allows, in words."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_values(each, known) for each in schema["anyOf"]))
    if "$ref" in schema:
        return f"a `{schema['$ref'].rpartition('/')[2]}`"
    if "enum" in schema:
        return ", ".join(_python(each) for each in schema["enum"])
    kind = schema.get("type", "any")
    low, high = schema.get("minimum"), schema.get("maximum")
    above = schema.get("exclusiveMinimum")
    if kind in ("integer", "number"):
        kind = "whole number" if kind == "integer" else "number"
        start = "" if low is None else f" from {_number(low)}"
        start = start if above is None else f" above {_number(above)}"
        return f"{kind}{start}" + ("" if high is None else f" to {_number(high)}")
    if kind == "array":
        inner = _values(schema["items"], known) if schema.get("items") else "any"
        plural = "s" if inner in ("number", "text", "whole number") else ""
        return "list" if inner == "any" else f"list of {inner}{plural}"
    names = {"boolean": "True, False", "string": "text", "object": "mapping", "null": "None"}
    return names.get(str(kind), "any")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _python(value: Any) -> str:
    """A value of JSON as Python spells it."""
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def method_keys() -> str:
    """Write a row for every key that a method takes besides those of `SpeculativeConfig`."""
    shared = {field.name: field for field in dataclasses.fields(DraftOptions)}
    said = described(inspect.getdoc(DraftOptions) or "", "Args")
    users: dict[str, list[str]] = {}
    rows = []
    for method, entry in sorted(known_methods().items()):
        if not entry.value.startswith("fairdraft."):
            continue
        proposer = entry.load()
        own = inspect.signature(proposer).parameters
        texts = described(inspect.getdoc(proposer) or "", "Args")
        for name, parameter in own.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                for key in shared:
                    users.setdefault(key, []).append(method)
            elif name != SHARED_KEYS and name != "model":
                rows.append((f"`{name}`", f"`{method}`", _python(parameter.default), texts[name]))
    for name, field in shared.items():
        methods = ", ".join(f"`{each}`" for each in users[name])
        rows.append((f"`{name}`", methods, _python(field.default), said[name]))
    return table(("key", "methods", "default", "what"), rows)


# ---- counters -----------------------------------------------------------------------------------


def counters(kind: type[Any]) -> str:
    """Write a row for every count of a dataclass, and for every figure that follows from them."""
    said = described(inspect.getdoc(kind) or "", "Attributes")
    unsaid = {"float": "seconds", "int": "how many"}
    rows = [
        (f"`{field.name}`", "counted", said.get(field.name) or unsaid[str(field.type)])
        for field in dataclasses.fields(kind)
    ]
    for name, value in vars(kind).items():
        if isinstance(value, property):
            first = (inspect.getdoc(value) or "").split("\n\n")[0]
            rows.append((f"`{name}`", "worked out", first))
    return table(("name", "kind", "what"), rows)


def described(docstring: str, section: str) -> dict[str, str]:
    """Return what a section of a docstring ("Args", "Attributes") says of each name.

    Args:
        docstring: cleaned, so that its sections begin in the first column.
        section: its title, without the colon.
    """
    _, found, rest = f"\n{docstring}\n".partition(f"\n{section}:\n")
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in rest.splitlines() if found else ():
        if line and not line.startswith(" "):
            break
        entry = re.match(r" {4}(\w[\w, ]*): (.*)", line)
        if entry:
            names = [name.strip() for name in entry[1].split(",")]
            texts |= dict.fromkeys(names, entry[2])
        else:
            for name in names:
                texts[name] += f" {line.strip()}"
    return {name: text.strip() for name, text in texts.items()}


# ---- formats of other engines -------------------------------------------------------------------


def formats() -> str:
    """Write a section for every format that `fairdraft.peers.read` understands."""
    every: tuple[Format[Any], ...] = (*TEXT_FORMATS, *JSON_FORMATS)
    parts = []
    for each in every:
        biased = "".join(f"* {_cell(line)}\n" for line in each.biased)
        unknown = "; ".join(_cell(line) for line in each.unknown)
        parts.append(
            f"## {each.title}\n\n{table(('in the file', 'read as'), each.read)}\n\n"
            f"Biased by:\n\n{biased}\nNot to be known from it: {unknown}."
        )
    return "\n\n".join(parts)


# ---- the pages ----------------------------------------------------------------------------------

PARTS: dict[str, Callable[[], str]] = {
    "command line": command_line,
    "engine keys": lambda: keys(EngineConfig),
    "sampling keys": lambda: keys(SamplingParams),
    "speculative keys": lambda: keys(SpeculativeConfig),
    "method keys": method_keys,
    "counters": lambda: counters(SpecCounters),
    "step times": lambda: counters(StepTimes),
    "formats": formats,
}


def filled(text: str) -> str:
    """Return a page with its parts written anew."""
    for name, write in PARTS.items():
        begin, end = f"<!-- {name}: made by `make tables` -->", f"<!-- end of {name} -->"
        text = between(text, begin, end, f"\n{write()}\n")
    return text


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text("utf-8")), "utf-8")
    sys.stdout.write(f"Written to {FOLDER.relative_to(ROOT)} and docs/formats.md\n")
