"""Methods by name: ours, and those of packages that the tests install beside it."""

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fairdraft import SamplingParams, SpeculativeConfig
from fairdraft.config import tell_once
from fairdraft.errors import ConfigError
from fairdraft.proposers import Proposer, build_proposer, known_methods
from fairdraft.proposers.draft_model import DraftModelProposer
from fairdraft.proposers.ngram import NgramProposer
from fairdraft.proposers.registry import method_of_model
from fairdraft.request import Request

HEAD = """\
from fairdraft.draft import Draft
from fairdraft.proposers import Proposer
"""
CONSTANT = (
    HEAD
    + """
class Constant(Proposer):
    def __init__(self, num_speculative_tokens, token=0, model=None):
        super().__init__(num_speculative_tokens)
        self.token, self.model = token, model

    def propose(self, requests, budgets, slots, noise):
        return [Draft((self.token,) * budget) for budget in budgets]
"""
)

Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package that registers the method "constant": its entry point, its code."""

    def write(entry_point: str, code: str) -> None:
        info = tmp_path / "third_party_drafts-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party-drafts\n")
        (info / "entry_points.txt").write_text(f"[fairdraft.proposers]\nconstant = {entry_point}\n")
        (tmp_path / "third_party_drafts.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "third_party_drafts", raising=False)

    return write


def constant(**options: object) -> Proposer:
    return build_proposer(SpeculativeConfig("constant", 3, **options))  # type: ignore[arg-type]


def test_ours_is_there() -> None:
    assert "ngram" in known_methods()
    proposer = build_proposer(SpeculativeConfig("ngram", 6, prompt_lookup_max=4))
    assert isinstance(proposer, NgramProposer)
    assert proposer.num_speculative_tokens == 6
    assert proposer.prompt_lookup_max == 4


def test_an_unknown_method_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"method 'clairvoyance' .*installed are .*\bngram\b"):
        build_proposer(SpeculativeConfig("clairvoyance"))


def test_an_unknown_key_is_answered_with_what_the_method_takes() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown key 'prompt_lookup_maximum'.*'ngram'"
    ) as caught:
        build_proposer(SpeculativeConfig("ngram", prompt_lookup_maximum=4))
    for key in ("prompt_lookup_max", "prompt_lookup_min", "prompt_lookup_match"):
        assert key in str(caught.value).partition("takes")[2]


def test_a_model_is_refused_where_none_is_used() -> None:
    with pytest.raises(ConfigError, match="unknown key 'model' for method 'ngram'"):
        build_proposer(SpeculativeConfig("ngram", model="org/small"))


def test_a_bad_value_is_refused_by_the_method_itself() -> None:
    with pytest.raises(ConfigError, match="prompt_lookup_max is 0"):
        build_proposer(SpeculativeConfig("ngram", prompt_lookup_max=0))


def test_a_third_party_method_is_used_by_name(install: Install) -> None:
    assert "constant" not in known_methods()
    install("third_party_drafts:Constant", CONSTANT)
    assert {"constant", "ngram"} <= set(known_methods())
    proposer = constant(token=7, model="org/small")
    assert proposer.num_speculative_tokens == 3
    assert proposer.model == "org/small"  # type: ignore[attr-defined]
    request = Request("r", (1,), SamplingParams())
    (draft,) = proposer.propose([request], [2], [[]], lambda *_: 0.0)
    assert draft.token_ids == (7, 7)


def test_its_keys_are_checked_and_listed_too(install: Install) -> None:
    install("third_party_drafts:Constant", CONSTANT)
    with pytest.raises(ConfigError, match=r"unknown key 'tokens'.*takes token, model"):
        constant(tokens=7)


def test_a_method_without_keys_says_so(install: Install) -> None:
    code = HEAD + "class Silent(Proposer):\n    def propose(self, *_):\n        return []\n"
    install("third_party_drafts:Silent", code)
    with pytest.raises(ConfigError, match=r"unknown key 'token'.*no keys of its own"):
        constant(token=7)


def test_what_is_no_proposer_is_refused(install: Install) -> None:
    install("third_party_drafts:Impostor", "class Impostor:\n    def __init__(self, k): ...\n")
    with pytest.raises(ConfigError, match=r"'constant' is no .*Proposer: subclass it"):
        constant()


def test_a_method_may_take_any_keys(install: Install) -> None:
    code = HEAD + (
        "class Open(Proposer):\n"
        "    def __init__(self, num_speculative_tokens, **options):\n"
        "        super().__init__(num_speculative_tokens)\n"
        "        self.options = options\n"
        "    def propose(self, *_):\n"
        "        return []\n"
    )
    install("third_party_drafts:Open", code)
    assert constant(token=7).options == {"token": 7}  # type: ignore[attr-defined]


def test_a_key_that_is_missing_is_named(install: Install) -> None:
    install("third_party_drafts:Constant", CONSTANT.replace("token=0", "token"))
    with pytest.raises(ConfigError, match="token"):
        constant()


@pytest.mark.parametrize(
    ("entry_point", "code"),
    [
        ("third_party_drafts:Constant", "import a_package_that_is_not_there"),
        ("third_party_drafts:Renamed", CONSTANT),
    ],
)
def test_a_method_that_cannot_be_loaded_is_named(
    install: Install, entry_point: str, code: str
) -> None:
    install(entry_point, code)
    with pytest.raises(ConfigError, match="constant"):
        constant()


@pytest.mark.parametrize("key", ["self", "num_speculative_tokens"])
def test_keys_named_like_python_s_own_are_refused(install: Install, key: str) -> None:
    code = HEAD + (
        "class Open(Proposer):\n"
        "    def __init__(self, num_speculative_tokens, **options):\n"
        "        super().__init__(num_speculative_tokens)\n"
        "    def propose(self, *_):\n"
        "        return []\n"
    )
    install("third_party_drafts:Open", code)
    config = SpeculativeConfig("constant", 3, options={key: 1})
    with pytest.raises(ConfigError, match=f"unknown key '{key}' for method 'constant'"):
        build_proposer(config)
    with pytest.raises(ConfigError, match=f"unknown key '{key}' for method 'ngram'"):
        build_proposer(SpeculativeConfig("ngram", 3, options={key: 1}))


def test_a_method_that_fails_at_its_keys_is_named(install: Install) -> None:
    install(
        "third_party_drafts:Constant",
        CONSTANT.replace("self.token, self.model", "_ = 1 / token; self.token, self.model"),
    )
    with pytest.raises(ConfigError, match=r"'constant' cannot be set up with \{'token': 0\}"):
        constant(token=0)


def test_off_takes_no_keys() -> None:
    assert build_proposer(SpeculativeConfig("off")) is None
    with pytest.raises(ConfigError, match=r"'off' drafts nothing, but \['prompt_lookup_max'\]"):
        build_proposer(SpeculativeConfig("off", prompt_lookup_max=3))
    with pytest.raises(ConfigError, match=r"'off' drafts nothing, but \['model'\]"):
        build_proposer(SpeculativeConfig("off", model="org/small"))


def test_a_misspelt_method_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'ngramm' is unknown \(did you mean 'ngram'\?\)"):
        build_proposer(SpeculativeConfig("ngramm"))


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ({"speculators_model_type": "eagle3"}, "eagle3"),
        ({"fairdraft_model_type": "medusa"}, "medusa"),
        ({"architectures": ["LlamaForCausalLMEagle3"]}, "eagle3"),
        ({"architectures": ["LlamaForCausalLM"]}, "draft_model"),
        ([], "draft_model"),
    ],
)
def test_a_model_names_its_method(tmp_path: Path, config: object, method: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert method_of_model(str(tmp_path)) == method


def test_a_model_without_a_config_is_a_draft_model(tmp_path: Path) -> None:
    assert method_of_model(str(tmp_path)) == "draft_model"
    assert method_of_model("demo") == "draft_model"
    assert method_of_model(str(tmp_path / "nowhere")) == "draft_model"


def test_a_model_alone_is_a_method() -> None:
    proposer = build_proposer(SpeculativeConfig.of({"model": "demo"}))  # type: ignore[arg-type]
    assert isinstance(proposer, DraftModelProposer)
    assert proposer.source.model == "demo"  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", ["ngram", "off"])
def test_keys_of_vllm_that_say_nothing_here_are_told_once(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    tell_once.cache_clear()
    with caplog.at_level(logging.WARNING, "fairdraft"):
        for _ in range(3):
            build_proposer(SpeculativeConfig(method, enforce_eager=True, moe_backend=None))
    assert [record.message for record in caplog.records] == [
        "enforce_eager of speculative_config is not needed here: there are no CUDA graphs to "
        "leave out"
    ]


def test_a_method_may_take_such_a_key_itself(install: Install) -> None:
    install("third_party_drafts:Constant", CONSTANT.replace("token=0", "token=0, quantization=0"))
    assert constant(token=7, quantization="int8").token == 7  # type: ignore[attr-defined]
