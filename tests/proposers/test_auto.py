"""Auto changes no text, whatever it decides, and never decides by what was drawn.

Costs come from profiles that the tests write, and the clock stands still: no decision hangs on how
busy this machine is.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM as Auto

from fairdraft import LLM, SamplingParams
from fairdraft.config import SpeculativeConfig
from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.economics.autopilot.beliefs import Beliefs
from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.live_costs import LiveCosts
from fairdraft.economics.costs.profile import Profile
from fairdraft.engine import engine as engine_module
from fairdraft.engine.engine import Engine
from fairdraft.errors import ConfigError
from fairdraft.models import ModelRunner
from fairdraft.proposers import Proposer, registry
from fairdraft.proposers.auto import AutoProposer
from fairdraft.telemetry.environment import benchmark_environment
from fairdraft.testing import (
    ConformanceError,
    ToyProposer,
    ToyRunner,
    check_proposer,
    toy_config,
    toy_continuation,
)
from fairdraft.testing.conformance import Suite
from tests.testing.test_conformance import COIN_PARAMS, CoinProposer, CoinRunner

GREEDY = SamplingParams(temperature=0, max_tokens=40, ignore_eos=True)
TOY = {"method": "toy", "accuracy": 0.8}


class Lookup(ToyProposer):
    """The toy drafter, at no cost."""

    is_lookup = True


class Remembering(AutoProposer):
    """Keeps all that were made, so that a test can see what they decided."""

    made: list[AutoProposer] = []  # noqa: RUF012

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.made.append(self)

    @classmethod
    def decided(cls) -> Counter[str]:
        """How often who drafted."""
        total: Counter[str] = Counter()
        for proposer in cls.made:
            for (method, _), count in proposer.autopilot.decisions.items():
                total[method] += count
        return total


@pytest.fixture(autouse=True)
def _drafters(register: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    register(toy=ToyProposer, lookup=Lookup, coin=CoinProposer)
    monkeypatch.setattr(engine_module, "perf_counter", lambda: 0.0)
    monkeypatch.setattr(AutoProposer, "clock", lambda self: 0.0)
    Remembering.made.clear()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """A profile: a row more of each request costs `growth` of a step, a draft token `c`."""

    def write(
        growth: float = 0.05,
        c: float = 0.05,
        drafters: Sequence[str] = ("toy",),
        model: str = "toy",
        **elsewhere: Any,
    ) -> str:
        def surface(seconds: Callable[[int], float]) -> CostSurface:
            grid = itertools.product((1, 8), (1, 5), (16, 512))
            return CostSurface(Point(b, n, x, (seconds(n),)) for b, n, x in grid)

        step = surface(lambda n: 1 + growth * (n - 1))
        heads = {name: surface(lambda k: 0.02 + c * k) for name in drafters}
        path = tmp_path / f"{growth}-{c}.json"
        here = benchmark_environment() | elsewhere
        path.write_text(json.dumps(Profile(model, "float32", here, step, step, heads).to_json()))
        return str(path)

    return write


def run(proposer: Proposer, count: int = 6, params: SamplingParams = GREEDY) -> Engine:
    engine = Engine(toy_config(max_num_seqs=4), ToyRunner(), proposer=proposer)
    requests = []
    for i in range(count):
        requests.append(engine.add_request((i % 32, 1, 2), params, seed=i))
        engine.step()
    while engine.has_unfinished_requests:
        engine.step()
    for request in requests:
        assert request.output_token_ids == toy_continuation(request, params.max_tokens or 0)
    return engine


def lengths(proposer: AutoProposer, method: str) -> list[int]:
    return [length for name, length in proposer.autopilot.decisions if name == method]


def costs(proposer: AutoProposer) -> LiveCosts:
    found = proposer.autopilot.chooser.costs
    assert isinstance(found, LiveCosts)
    return found


# --- what it decides


def test_it_drafts_what_pays(write: Callable[..., str]) -> None:
    proposer = AutoProposer(4, [TOY, "ngram"], write(growth=0.02, c=0.02))
    engine = run(proposer)
    assert engine.counters.mean_acceptance_length > 2
    assert max(lengths(proposer, "toy")) == 4


def test_it_drafts_nothing_where_everything_is_dear(write: Callable[..., str]) -> None:
    """A row costs a plain step: no survival is worth it, and trying must be saved up for first."""
    proposer = AutoProposer(4, [TOY, "lookup", "ngram"], write(growth=1.0, c=1.0))
    engine = run(proposer)
    assert set(proposer.autopilot.decisions) == {("off", 0)}
    assert not engine.counters.num_draft_tokens


def test_where_nothing_pays_few_steps_decide(
    write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finding out takes a twentieth of a step: it is done ever less often."""
    clock = itertools.count()
    proposer = AutoProposer(4, [TOY], write(growth=1.0, c=1.0))
    proposer.clock = lambda: 0.05 * next(clock)
    decided: list[int] = []
    propose = proposer.propose

    def watched(*args: Any) -> list[Draft]:
        decided.append(engine.times.num_steps)
        return propose(*args)

    engine = Engine(toy_config(max_num_seqs=1), ToyRunner(), proposer=proposer)
    monkeypatch.setattr(proposer, "propose", watched)
    engine.add_request((1, 2), GREEDY, seed=0)
    while engine.has_unfinished_requests:
        engine.step()
    assert decided == [0, 1, 3, 7, 15, 31]
    assert proposer.autopilot.decisions == {("off", 0): 39}


def test_a_drafter_that_fails_is_left_but_for_trying(write: Callable[..., str]) -> None:
    proposer = AutoProposer(4, [{"method": "toy", "accuracy": 0.0}], write(growth=0.2, c=0.2))
    run(proposer, count=40)
    decisions = proposer.autopilot.decisions
    drafted = sum(count for (name, _), count in decisions.items() if name == "toy")
    assert 0 < drafted < 0.1 * sum(decisions.values())


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_the_text_judges_lookups_that_nobody_verifies(
    accuracy: float, write: Callable[..., str]
) -> None:
    """Where all is dear they are still known for what they are worth."""
    method = {"method": "lookup", "accuracy": accuracy}
    proposer = AutoProposer(4, [method], write(growth=1.0))
    run(proposer)
    assert set(proposer.autopilot.decisions) == {("off", 0)}
    rates = proposer.autopilot.beliefs["lookup"].rates((3, accuracy == 1.0))
    if accuracy:
        assert min(rates) > 0.9
    else:
        assert rates[0] < 0.1


def test_records_agree_with_the_verdicts(
    write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drafter's drafts are noted as they were verified, each once; preempted ones are not."""
    proposer = AutoProposer(4, [TOY], write())
    noted: list[tuple[int, int]] = []
    record = Beliefs.record

    def keep(self: Beliefs, name: str, kind: object, drafted: int, stood: int) -> None:
        noted.append((drafted, stood))
        record(self, name, kind, drafted, stood)

    monkeypatch.setattr(Beliefs, "record", keep)
    engine = Engine(
        toy_config(num_gpu_blocks_override=24, max_num_batched_tokens=12),
        ToyRunner(),
        proposer=proposer,
    )
    for i in range(8):
        engine.add_request((i, 1, 2), GREEDY)
    while engine.has_unfinished_requests:
        engine.step()
    assert engine.scheduler.num_preemptions
    assert len(noted) > 0.8 * engine.counters.num_drafts  # a text's last draft is not settled
    assert sum(drafted for drafted, _ in noted) <= engine.counters.num_draft_tokens
    counters = engine.counters
    share = sum(stood for _, stood in noted) / sum(drafted for drafted, _ in noted)
    assert share == pytest.approx(
        counters.num_accepted_tokens / counters.num_draft_tokens, abs=0.03
    )


def test_nothing_is_left_of_requests_that_ended(write: Callable[..., str]) -> None:
    proposer = AutoProposer(4, [TOY, "lookup", "suffix"], write())
    run(proposer)
    assert not len(proposer.autopilot._unverified)
    assert not proposer.autopilot._unverified._right
    assert not proposer.autopilot._awaited
    assert not any(beliefs._own for beliefs in proposer.autopilot.beliefs.values())


def test_without_a_profile_it_looks_for_itself() -> None:
    proposer = registry.build_proposer(SpeculativeConfig("auto", 4))
    assert isinstance(proposer, AutoProposer)
    assert list(proposer.proposers) == ["suffix"]
    run(proposer)
    assert costs(proposer).step.rows == [1, 2, 3, 5]


def test_a_drafter_without_a_profile_is_priced_by_a_guess() -> None:
    proposer = AutoProposer(3, [TOY])
    run(proposer)
    drafts = costs(proposer).drafts("toy", 1, 100.0)
    assert (drafts[1, 1:] > 0).all()


# --- it changes nothing


def test_chosen_drafts_pass_the_suite(write: Callable[..., str]) -> None:
    """Lookups and a drafter, at costs where all of them have their turn."""
    report = check_proposer(
        Remembering, methods=["suffix", "ngram", TOY], profile=write(growth=0.15, c=0.08)
    )
    assert report.deterministic
    assert report.accepted
    decided = Remembering.decided().keys()
    assert decided >= {"off", "toy"}
    assert decided & {"suffix", "ngram"}


def test_drawn_drafts_pass_the_suite(write: Callable[..., str]) -> None:
    drawn = {"method": "toy", "accuracy": 0.5, "sampled": True}
    report = check_proposer(
        Remembering,
        num_speculative_tokens=3,
        methods=[
            {"method": "lookup", "accuracy": 0.4},
            drawn,
            {"method": "toy", "accuracy": 0.2, "sampled": True},
        ],
        profile=write(growth=0.1, c=0.1, drafters=("toy", "toy#2")),
        draws=250,
    )
    assert not report.deterministic
    assert Remembering.decided().keys() >= {"lookup", "toy"}


def test_self_drafting_passes_the_suite(
    tiny: Callable[[str], Path], write: Callable[..., str]
) -> None:
    """On a model whose hidden layers draft, with draws."""

    def runner() -> ModelRunner:
        return ModelRunner(Auto.from_pretrained(tiny("llama"), dtype=torch.float32))

    report = check_proposer(
        Remembering,
        runner=runner,
        num_speculative_tokens=2,
        methods=["ngram", {"method": "draft_model", "draft_sample_method": "probabilistic"}],
        profile=write(growth=0.05, c=0.05, drafters=("draft_model",)),
        draws=50,
    )
    assert not report.deterministic
    assert Remembering.decided()["draft_model"]


class Peeking(AutoProposer):
    """Looks at what was drawn, and takes it back where it is unlikely."""

    def propose(self, *args: Any) -> list[Draft]:
        drafts = super().propose(*args)
        return [
            EMPTY_DRAFT if len(draft) and draft.token_ids[0] == 1 else draft for draft in drafts
        ]


class Shortening(AutoProposer):
    """Decides the length by what was drawn."""

    def propose(self, *args: Any) -> list[Draft]:
        return [d.trimmed(len(d) - (1 in d.token_ids[-1:])) for d in super().propose(*args)]


def check_coins(kind: type[AutoProposer], profile: str) -> None:
    suite = Suite(CoinRunner, lambda: kind(2, ["coin"], profile))
    suite.check_law("block", "coins", COIN_PARAMS, 1_000)
    suite.settle()


def test_what_was_drawn_is_not_looked_at(write: Callable[..., str]) -> None:
    check_coins(AutoProposer, write(c=0.01, drafters=["coin"]))


@pytest.mark.parametrize("fault", [Peeking, Shortening])
def test_looking_at_what_was_drawn_is_caught(
    fault: type[AutoProposer], write: Callable[..., str]
) -> None:
    with pytest.raises(ConformanceError, match="do not follow the target's law"):
        check_coins(fault, write(c=0.01, drafters=["coin"]))


def test_the_demo_model_says_the_same(demo: LLM, write: Callable[..., str]) -> None:
    """Shared beginnings, prompts in chunks, a pool that preempts; by default suffix and EAGLE-3."""
    begin = "def add(a, b):\n    return a + b\n\n\ndef multiply(a, b):\n    return"
    prompts = [begin, begin + " a * b\n\n\ndef add(", begin + " b"]
    params = SamplingParams(temperature=0, max_tokens=16, ignore_eos=True)
    profile = write(growth=0.1, c=0.1, drafters=["eagle3"], model="demo")
    llm = LLM(
        "demo",
        dtype="float32",
        max_model_len=128,
        max_num_seqs=3,
        max_num_batched_tokens=16,
        num_gpu_blocks_override=6,
        speculative_config={"method": "auto", "num_speculative_tokens": 4, "profile": profile},
    )
    proposer = llm.engine.proposer
    assert isinstance(proposer, AutoProposer)
    assert list(proposer.proposers) == ["suffix", "eagle3"]
    plain, found = (
        [output.outputs[0].token_ids for output in each.generate(prompts, params)]
        for each in (demo, llm)
    )
    assert found == plain
    assert llm.counters.num_accepted_tokens > 3
    assert {name for name, _ in proposer.autopilot.decisions} >= {"suffix", "eagle3"}
    assert llm.engine.scheduler.num_preemptions


# --- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": []}, "a list of method names"),
        ({"methods": "ngram"}, "a list of method names"),
        ({"methods": ["hybrid"]}, "cannot be one of several methods"),
        ({"methods": ["auto"]}, "cannot be one of several methods"),
        ({"methods": ["nonsense"]}, "method 'nonsense' is unknown"),
        ({"methods": [{"method": "ngram", "colour": 1}]}, "unknown key 'colour'"),
        ({"methods": [{"method": "draft_model", "draft_tree_top_k": 2}]}, "drafts trees, but auto"),
        ({"profile": "/nowhere/p.json"}, "'/nowhere/p.json' cannot be read"),
        ({"profile": 3}, "profile is 3"),
        ({"colour": 1}, "unknown key 'colour'"),
    ],
)
def test_bad_keys(options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LLM("demo", speculative_config={"method": "auto", **options})


def test_a_drafter_that_the_profile_lacks_is_guessed(write: Callable[..., str]) -> None:
    proposer = AutoProposer(2, [TOY], write(drafters=["another"]))
    proposer.bind(ToyRunner())
    # A profiled step takes a second here, and a draft token a tenth of that, as far as is known.
    assert costs(proposer).drafts("toy", 1, 100)[1, 2] == pytest.approx(0.25)


def test_a_profile_of_another_machine_is_refused(write: Callable[..., str]) -> None:
    with pytest.raises(ConfigError, match="cores is 512, and here it is"):
        AutoProposer(2, [TOY], write(cores=512)).bind(ToyRunner())


def test_a_profile_of_another_model_is_refused(write: Callable[..., str]) -> None:
    runner = ToyRunner()
    runner.name = "mine"
    with pytest.raises(ConfigError, match="the profile is of model 'toy', but 'mine' runs"):
        AutoProposer(2, [TOY], write()).bind(runner)
