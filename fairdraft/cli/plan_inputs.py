"""What `fairdraft plan` is given: costs and acceptance, from files and from numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.costs.step_costs import SWEPT, StepCosts, draft_length
from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.errors import ConfigError, ReadingError
from fairdraft.peers import Reading, read, read_all


def profile_costs(path: Path, context: float | None, force: bool) -> StepCosts:
    """Costs from a profile.

    Args:
        path: what `fairdraft profile` wrote.
        context: tokens of each request; the shortest measured by default.
        force: take it although it is of another machine.

    Raises:
        ConfigError: no profile, one of another machine, or a context below 0.
    """
    from fairdraft.telemetry.environment import benchmark_environment

    if context is not None and not (math.isfinite(context) and context >= 0):
        raise ConfigError(f"--context is {context:g}, but must be a number of tokens from 0 on")
    found = Profile.load(path)
    if not force:
        found.require_hardware(benchmark_environment())
    return StepCosts.of_profile(found, context)


def sweep_runs(paths: Sequence[Path], method: str | None) -> tuple[list[Reading], str]:
    """Runs of a sweep, and who drafts in them.

    Args:
        paths: files, and folders of `vllm bench sweep serve` or of files.
        method: who drafts; of fairdraft's own files, only its cells are taken.

    Raises:
        ReadingError: a file is unreadable, or two methods are mixed.
    """
    runs = [run for path in paths for run in _runs(path)]
    named = {run: _method(run) for run in runs}
    methods = {name for run, name in named.items() if name and run.speculates}
    if method is None and len(methods) > 1:
        raise ReadingError(
            f"the sweep has several drafters ({', '.join(sorted(methods))}): choose one with "
            "--method"
        )
    if methods:
        method = method or methods.pop()
        runs = [run for run in runs if not run.speculates or named[run] in (None, method)]
    return runs, method or SWEPT


def _runs(path: Path) -> list[Reading]:
    """Of a file, the folder of a `vllm bench sweep`, or a folder of files."""
    if path.is_dir() and not [*path.glob("run=*.json"), *path.glob("*/run=*.json")]:
        files = sorted(path.glob("*.json"))
        if not files:
            raise ReadingError(f"the sweep {str(path)!r} is empty: it holds no .json file")
        return [run for file in files for run in read_all(file)]
    return read_all(path)


def _method(run: Reading) -> str | None:
    """Who drafts, in a cell of our own benchmark: dataset/method/k=…/n=…."""
    parts = run.label.split("/")
    return parts[1] if len(parts) == 4 and parts[2].startswith("k=") else None


def acceptances(
    costs: StepCosts,
    method: str | None,
    files: Sequence[str],
    alphas: Sequence[str],
    survivals: Sequence[str],
    mixes: Sequence[str],
    runs: Sequence[Reading] = (),
) -> dict[str, Acceptance]:
    """Acceptance of each method that is to be planned for.

    Args:
        costs: names the methods.
        method: whose what has no METHOD= before it is; by default the only one's.
        files, alphas, survivals: [METHOD=]what.
        mixes: NAME=SHARE:WHAT, parts of one traffic; WHAT is a file or an α.
        runs: of a sweep; its longest drafts are the acceptance if nothing else is.

    Raises:
        ConfigError: a value is out of range, a method was not measured, given twice or not at all.
        ReadingError: a file is unreadable, or drafted nothing.
    """
    found: dict[str, Acceptance] = {}

    def put(name: str, acceptance: Acceptance) -> None:
        if name in found:
            raise ConfigError(f"the acceptance of {name!r} is given twice: give it once")
        found[name] = acceptance

    readers: list[tuple[Sequence[str], Callable[[str], Acceptance]]] = [
        (files, _measured),
        (alphas, _of_alpha),
        (survivals, _of_survivals),
    ]
    for words, reader in readers:
        for word in words:
            name, what = method_of(word, costs, method)
            put(name, reader(what))
    if mixes:
        put(method_of("", costs, method)[0], Acceptance.mix([_part(mix) for mix in mixes]))
    if not found and runs:
        longest = max(draft_length(run) for run in runs)
        drafted = [run for run in runs if draft_length(run) == longest and run.speculates]
        put(method_of("", costs, method)[0], Acceptance.of(*drafted))
    if not found:
        raise ConfigError(
            "there is no acceptance to plan with: give --acceptance FILE, --alpha 0.7, "
            "--survivals 0.7,0.5 or --mix"
        )
    return found


def method_of(word: str, costs: StepCosts, method: str | None) -> tuple[str, str]:
    """[METHOD=]WHAT, taken apart.

    Raises:
        ConfigError: there are several methods and none is named.
    """
    name, equals, what = word.partition("=")
    if equals and name in costs.methods:
        return name, what
    if method is None and len(costs.methods) > 1:
        raise ConfigError(
            f"which drafter is {word or 'the mix'!r} of? Write METHOD={word or '…'} with one of "
            f"{', '.join(costs.methods)}, or add --method"
        )
    name = method or costs.methods[0]
    costs.require_method(name)
    return name, word


def _measured(path: str) -> Acceptance:
    reading = read(path)
    if not reading.speculates:
        raise ReadingError(
            f"{path!r} drafted nothing: give a measurement with speculation, of which the "
            "acceptance is to be taken"
        )
    return Acceptance.of(reading)


def _of_alpha(text: str) -> Acceptance:
    return Acceptance.of_alpha(_number("--alpha", text))


def _of_survivals(text: str) -> Acceptance:
    return Acceptance.of_survivals([_number("--survivals", word) for word in text.split(",")])


def _part(text: str) -> tuple[float, Acceptance]:
    name, equals, rest = text.partition("=")
    share, colon, what = rest.partition(":")
    if not (name and equals and colon and what):
        raise ConfigError(
            f"--mix is {text!r}, but must be NAME=SHARE:WHAT, such as code=0.7:code.json or "
            "chat=0.3:0.55"
        )
    try:
        alpha = float(what)
    except ValueError:
        return _number("--mix", share), Acceptance(_measured(what).texts, name)
    return _number("--mix", share), Acceptance(Acceptance.of_alpha(alpha).texts, name)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{name} is {text!r}, but must be a number, such as 0.7") from None
