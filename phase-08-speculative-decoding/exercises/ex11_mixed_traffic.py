"""Exercise 11: 70% code and 30% chat: one k, a k for each kind, or adaptively; planned, replayed.

The rounds in traffic.json were traced from the demo model by trace_traffic.py.
"""

from __future__ import annotations

from shared import machine, measured_profile, show
from traffic import PerKind, acceptance, load, texts

from fairdraft.economics.autopilot.policies import Auto, Oracle, Policy, Static
from fairdraft.economics.autopilot.replay import replay
from fairdraft.economics.costs.live_costs import LiveCosts
from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.costs.step_costs import StepCosts
from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.economics.planning.planner import Choice, plan

SHARES = {"code": 0.7, "chat": 0.3}  # of the tokens, and of the texts, for all are of one length
METHODS = ("ngram", "eagle3")
LOADS = {1: 20, 8: 40}  # requests at once: texts
LENGTHS, LONGEST, CONTEXT = (1, 2, 4, 8), 8, 192


def policies(profile: Profile, method: str, chosen: dict[str, Choice]) -> dict[str, Policy]:
    """Return what is replayed, by name."""
    lookup = method == "ngram"
    drafters = {} if lookup else {method: profile.drafter(method)}
    auto = Auto(LiveCosts(profile.step, drafters, LONGEST), method, lookup, LONGEST)
    oracle = Oracle(LiveCosts(profile.step, drafters, LONGEST), None if lookup else method, LONGEST)
    fixed: dict[str, Policy] = {f"k = {k}" if k else "off": Static(k) for k in (0, *LENGTHS)}
    return fixed | {
        "by kind, as planned": PerKind({kind: chosen[kind].k for kind in SHARES}),
        "adaptive (auto)": auto,
        "oracle": oracle,
    }


def main() -> None:
    """Plan each method at each load, then replay the mixed traffic under every policy."""
    profile, traffic = measured_profile(), load()
    costs = StepCosts.of_profile(profile, CONTEXT)
    planned, doubts = list[tuple[str, ...]](), list[str]()
    replayed: dict[str, list[str]] = {}
    for method in METHODS:
        parts = {kind: acceptance(traffic, method, kind) for kind in SHARES}
        mix = Acceptance.mix([(SHARES[kind], each) for kind, each in parts.items()])
        kinds = {"mix": mix, **parts}
        if method == "ngram":
            tokens = {name: each.draw(LONGEST).tokens(LONGEST)[0] for name, each in kinds.items()}
            mean = sum(SHARES[kind] * tokens[kind] for kind in SHARES)
            print(", ".join(f"{name} {each:.2f}" for name, each in tokens.items()), end=" ")
            print(f"tokens a step ({method}, k = {LONGEST}); mean by shares {mean:.2f}\n")
        for n, count in LOADS.items():
            chosen: dict[str, Choice] = {}
            for name, each in kinds.items():
                found = plan(costs, {method: each}, LENGTHS, [n], draws=500)
                choice, first = found.choices[method, n], found.cells[method, n, 1]
                assert choice is not None
                assert first is not None
                chosen[name], gain = choice, first.speedup
                if not choice.k:
                    interval = f"{gain.value:.2f}, from {gain.low:.2f} to {gain.high:.2f}"
                    doubts.append(f"{method}, {n} at once, {name} at k = 1: {interval}")
            cells = [f"{c.k or 'off'} ({c.cell.speedup.value:.2f})" for c in chosen.values()]
            planned.append((f"{method}, {n} at once", *cells))
            off = 0.0
            for name, policy in policies(profile, method, chosen).items():
                done = replay(texts(traffic, method, count), policy, profile, method, n)
                off = off or done.decoding_rate
                replayed.setdefault(name, []).append(f"{done.decoding_rate / off:.2f}")
    print(f"planned: k (speedup), each kind by itself; {machine(profile.environment)}")
    show(("", "mix", *SHARES), planned)
    print("\n".join(f"  {doubt}" for doubt in doubts))
    print("\nreplayed: speedup over off, both kinds side by side")
    show(("", *(name for name, *_ in planned)), [(name, *row) for name, row in replayed.items()])


if __name__ == "__main__":
    main()
