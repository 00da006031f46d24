"""What `fairdraft plan` is given, as options spell it: costs and acceptance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.costs.step_costs import StepCosts
from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.economics.planning.sweep import longest_acceptance, sweep_runs
from fairdraft.errors import ConfigError, ReadingError
from fairdraft.peers import Reading, read


@dataclass(frozen=True)
class Costs:
    """Where step costs come from: a profile, or a sweep of runs.

    Args:
        profile: what `fairdraft profile` wrote.
        sweep: files and folders of runs.
        method: who drafts in the sweep, where its files do not say.
        context: with a profile, tokens of each request; the shortest measured by default.
        force: take a profile of another machine.

    Raises:
        ConfigError: both or neither are given, or a context that cannot be.
    """

    profile: Path | None
    sweep: Sequence[Path]
    method: str | None
    context: float | None
    force: bool

    def __post_init__(self) -> None:
        if (self.profile is None) == (not self.sweep):
            raise ConfigError(
                "step costs come from either --profile FILE (see `fairdraft profile`) or --sweep "
                "FILES of another engine: give one of the two"
            )
        if self.context is None:
            return
        if self.profile is None:
            raise ConfigError("--context goes with --profile: a sweep has the context it ran with")
        if not (math.isfinite(self.context) and self.context >= 0):
            raise ConfigError(
                f"--context is {self.context:g}, but must be a number of tokens from 0 on"
            )

    def load(self) -> tuple[StepCosts, list[Reading], str | None]:
        """Read the files.

        Returns:
            The costs, the sweep's runs (none of a profile), and who drafts (None: not said).

        Raises:
            FairdraftError: a file is unreadable, or the profile is of another machine.
        """
        if self.profile is None:
            runs, method = sweep_runs(self.sweep, self.method)
            return StepCosts.of_sweep(runs, method), runs, method
        from fairdraft.telemetry.environment import machine

        found = Profile.load(self.profile)
        if not self.force:
            found.require_hardware(machine())
        return StepCosts.of_profile(found, self.context), [], self.method


@dataclass(frozen=True)
class Said:
    """What options say of acceptance.

    Args:
        files, alphas, survivals: [METHOD=]what.
        mixes: NAME=SHARE:WHAT, parts of one traffic; WHAT is a file or an α.
    """

    files: Sequence[str] = ()
    alphas: Sequence[str] = ()
    survivals: Sequence[str] = ()
    mixes: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.files or self.alphas or self.survivals or self.mixes)

    def acceptances(
        self, costs: StepCosts, method: str | None, runs: Sequence[Reading] = ()
    ) -> dict[str, Acceptance]:
        """Return the acceptance of each method that is to be planned for.

        Args:
            costs: names the methods.
            method: whose what has no METHOD= before it is; by default the only one's.
            runs: of a sweep; its longest drafts are the acceptance if nothing else is.

        Raises:
            ConfigError: a value is out of range, a method was not measured, given twice or not at
                all.
            ReadingError: a file is unreadable, or drafted nothing.
        """
        found: dict[str, Acceptance] = {}

        def put(name: str, acceptance: Acceptance) -> None:
            if name in found:
                raise ConfigError(f"the acceptance of {name!r} is given twice: give it once")
            found[name] = acceptance

        makers: list[tuple[Sequence[str], Callable[[str], Acceptance]]] = [
            (self.files, _measured),
            (self.alphas, _of_alpha),
            (self.survivals, _of_survivals),
        ]
        for words, make in makers:
            for word in words:
                name, what = method_of(word, costs, method)
                put(name, make(what))
        if self.mixes:
            mix = Acceptance.mix([_part(mix) for mix in self.mixes])
            put(method_of("", costs, method)[0], mix)
        if not found and runs:
            put(method_of("", costs, method)[0], longest_acceptance(runs))
        if not found:
            raise ConfigError(
                "there is no acceptance to plan with: give --acceptance FILE, --alpha 0.7, "
                "--survivals 0.7,0.5 or --mix"
            )
        return found


def method_of(word: str, costs: StepCosts, method: str | None) -> tuple[str, str]:
    """Take [METHOD=]WHAT apart.

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
