"""The generated parts of docs/reference: options of the command line, keys of configs, counters.

A part stands between `<!-- NAME: made by `make tables` -->` and `<!-- end of NAME -->`; everything
between is replaced. tests/docs/test_reference.py fails while a page says something else.

    python -m scripts.reference     rewrite the parts
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import TypeAdapter

from fairdraft.cli.main import VERBS, load
from fairdraft.config import EngineConfig, SamplingParams, SpeculativeConfig
from fairdraft.proposers import known_methods
from fairdraft.proposers.options import DraftOptions
from fairdraft.telemetry import SpecCounters, StepTimes
from scripts.markdown import ROOT

FOLDER = ROOT / "docs" / "reference"
SHARED_KEYS = "num_speculative_tokens"  # of every method: it is one of SpeculativeConfig's


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown; a bar in a cell is escaped."""
    head = list(header)
    lines = [head, ["---"] * len(head), *([_cell(each) for each in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


# ---- the command line ---------------------------------------------------------------------------


def command_line() -> str:
    """Write a section for every verb, from the same objects that `--help` is printed from."""
    parts = []
    for name in VERBS:
        command = load(name)
        words = f"fairdraft {name}"
        verbs = getattr(command, "commands", None)
        if verbs is None:
            parts.append(_verb("##", words, command))
            continue
        parts.append(f"## `{words}`\n\n{_paragraphs(command.help)}")
        parts += [_verb("###", f"{words} {each}", verbs[each]) for each in verbs]
    return "\n\n".join(parts)


def _verb(level: str, words: str, command: Any) -> str:
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    arguments = [each for each in shown if each.param_type_name == "argument"]
    options = [each for each in shown if each.param_type_name == "option"]
    usage = " ".join([words, *map(_argument, arguments), *(["[OPTIONS]"] if options else [])])
    rows = [(f"`{_argument(each)}`", _default(each), each.help or "") for each in arguments]
    rows += [(_option(each), _default(each), each.help or "") for each in options]
    parts = [f"{level} `{words}`", _paragraphs(command.help), f"```\n{usage}\n```"]
    parts += [table(("option", "default", "what"), rows)] if rows else []
    return "\n\n".join(parts)


def _paragraphs(text: str | None) -> str:
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text or ""))
    return "\n\n".join(re.sub(r"\s+", " ", each).strip() for each in paragraphs)


def _argument(param: Any) -> str:
    name = (param.metavar or param.human_readable_name).upper().strip("[]")
    name = name if param.nargs == 1 else f"{name.removesuffix('...')}…"
    return name if param.required else f"[{name}]"


def _option(param: Any) -> str:
    spelled = [f"`{each}`" for each in (*param.opts, *param.secondary_opts)]
    text = ", ".join(spelled)
    if param.is_flag or param.secondary_opts:
        return text
    value = param.metavar or param.type.name.upper()
    again = ", repeatable" if param.multiple else ""
    return f"{text} `{value}`{again}"


def _default(param: Any) -> str:
    if param.required:
        return "required"
    value = param.default
    if value is None or value == () or value == [] or callable(value):
        return ""
    if isinstance(value, bool):
        names = param.opts if value else param.secondary_opts
        return f"`{names[0]}`" if names and param.secondary_opts else ("on" if value else "")
    return f"`{value}`" if type(value).__name__ != "_Sentinel" else ""


# ---- keys of configs ----------------------------------------------------------------------------


def keys(config: type[Any]) -> str:
    """Write a row for every key of a config, from its JSON schema."""
    schema = TypeAdapter(config).json_schema()
    required = set(schema.get("required", ()))
    rows = [
        (
            f"`{name}`",
            _values(each, schema.get("$defs", {})),
            "required" if name in required else _json(each.get("default")),
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
        return ", ".join(_json(each) for each in schema["enum"])
    kind = schema.get("type", "any")
    low, high = schema.get("minimum"), schema.get("maximum")
    above = schema.get("exclusiveMinimum")
    if kind in ("integer", "number"):
        kind = "whole number" if kind == "integer" else "number"
        start = f"above {_number(above)}" if above is not None else f"from {_number(low)}"
        start = "" if low is None and above is None else f" {start}"
        return f"{kind}{start}" + ("" if high is None else f" to {_number(high)}")
    if kind == "array":
        inner = _values(schema["items"], known) if schema.get("items") else "any"
        return "list" if inner == "any" else f"list of {inner}"
    names = {"boolean": "true, false", "string": "text", "object": "mapping", "null": "null"}
    return names.get(str(kind), "any")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _json(value: Any) -> str:
    texts = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return f"`{texts[value]}`"
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
        own = _own_parameters(proposer)
        texts = described(inspect.getdoc(proposer) or "", "Args")
        for name, parameter in own.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                for key in shared:
                    users.setdefault(key, []).append(method)
            elif name != SHARED_KEYS and name != "model":
                rows.append((f"`{name}`", f"`{method}`", _json(parameter.default), texts[name]))
    for name, field in shared.items():
        methods = ", ".join(f"`{each}`" for each in users[name])
        rows.append((f"`{name}`", methods, _json(field.default), said[name]))
    return table(("key", "methods", "default", "what"), rows)


def _own_parameters(proposer: type[Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(proposer).parameters)


# ---- counters -----------------------------------------------------------------------------------


def counters(kind: type[Any]) -> str:
    """Write a row for every count of a dataclass, and for every figure that follows from them."""
    said = described(inspect.getdoc(kind) or "", "Attributes")
    names = [field.name for field in dataclasses.fields(kind)]
    rows = [(f"`{name}`", "counted", said.get(name, "")) for name in names]
    for name, value in vars(kind).items():
        if isinstance(value, property):
            first = (inspect.getdoc(value) or "").split("\n\n")[0]
            rows.append((f"`{name}`", "worked out", first))
    return table(("name", "", "what"), rows)


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


# ---- the pages ----------------------------------------------------------------------------------

PARTS: dict[str, Callable[[], str]] = {
    "command line": command_line,
    "engine keys": lambda: keys(EngineConfig),
    "sampling keys": lambda: keys(SamplingParams),
    "speculative keys": lambda: keys(SpeculativeConfig),
    "method keys": method_keys,
    "counters": lambda: counters(SpecCounters),
    "step times": lambda: counters(StepTimes),
}


def filled(text: str) -> str:
    """Return a page with its parts written anew."""
    for name, write in PARTS.items():
        begin, end = f"<!-- {name}: made by `make tables` -->", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        if found:
            text = f"{before}{begin}\n\n{write()}\n\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    for page in sorted(FOLDER.glob("*.md")):
        page.write_text(filled(page.read_text("utf-8")), "utf-8")
    sys.stdout.write(f"Written to {FOLDER.relative_to(ROOT)}\n")
