"""Models from a hub of the test's own, on loopback: fetched whole, or told why not at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from tests.models.small_hub import Repository, SmallHub

Tiny = Callable[[str], Path]

# huggingface_hub reads HF_ENDPOINT when it is imported: a process of its own, asked line by line.
CLIENT = """
import json, sys, time
from huggingface_hub import constants
constants.DOWNLOAD_CHUNK_SIZE = 4096  # what arrives of a smaller piece is lost when the line breaks
from fairdraft.errors import FairdraftError
from fairdraft.models.checkpoints import load_checkpoint
print("ready", flush=True)
for line in sys.stdin:
    started = time.perf_counter()
    answer = {}
    try:
        loaded = load_checkpoint(*json.loads(line))
        answer["parameters"] = sum(each.numel() for each in loaded.model.parameters())
        answer["eos"] = sorted(loaded.eos_token_ids)
        answer["first"] = next(loaded.model.parameters()).flatten()[0].item()
    except FairdraftError as error:
        answer["error"] = str(error)
    answer["seconds"] = time.perf_counter() - started
    print(json.dumps(answer), flush=True)
"""

Load = Callable[..., dict[str, Any]]


class Client:
    """A process that loads models from a hub, with a cache of its own."""

    def __init__(self, hub: str, cache: Path) -> None:
        kept = {n: v for n, v in os.environ.items() if not n.startswith("HF_")}
        environment = kept | {"HF_ENDPOINT": hub, "HF_HOME": str(cache)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._line() == "ready\n"

    def load(self, name: str, revision: str | None = None) -> dict[str, Any]:
        """Load a model in float32 on the CPU: what came of it."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([name, "float32", "cpu", revision]) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._line())
        return answer

    def close(self) -> str:
        """End the process; what it wrote to stderr."""
        return self.process.communicate()[1]

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> Path:
    """The tiny Llama in several shards."""
    source, folder = tiny("llama"), tmp_path_factory.mktemp("shards") / "model"
    shutil.copytree(source, folder)
    (folder / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(source).save_pretrained(folder, max_shard_size="100KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    return folder


@pytest.fixture(scope="module")
def hub() -> Iterator[SmallHub]:
    """A hub without models."""
    hub = SmallHub()
    yield hub
    hub.close()


@pytest.fixture(scope="module")
def client(hub: SmallHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One process for all tests: it takes seconds to start."""
    client = Client(hub.url, tmp_path_factory.mktemp("hub-cache"))
    yield client
    assert client.close() == ""  # no bars, no warnings, no retries


def test_a_model_in_shards(hub: SmallHub, client: Client, folder: Path) -> None:
    hub.repositories["org/shards"] = Repository({"main": folder})
    answer = client.load("org/shards")
    own = AutoModelForCausalLM.from_pretrained(folder)
    assert answer["parameters"] == sum(each.numel() for each in own.parameters())
    assert answer["eos"] == [1]


def test_a_revision(hub: SmallHub, client: Client, tiny: Tiny) -> None:
    hub.repositories["org/two"] = Repository({"main": tiny("llama"), "v2": tiny("qwen3")})
    main, other = client.load("org/two"), client.load("org/two", "v2")
    assert main["parameters"] != other["parameters"]
    answer = client.load("org/two", "v3")
    assert "'org/two' has no revision 'v3'" in answer["error"]
    assert "a branch, a tag or a commit" in answer["error"]


def test_a_download_that_breaks_goes_on_where_it_broke(
    hub: SmallHub, client: Client, folder: Path
) -> None:
    broken = sorted(folder.glob("*.safetensors"))[0]
    hub.repositories["org/breaks"] = Repository({"main": folder}, broken={broken.name})
    answer = client.load("org/breaks")
    assert answer["first"] == client.load("org/shards")["first"]
    [(name, wanted)] = hub.ranges
    assert name == broken.name
    assert 0 < int(wanted.removeprefix("bytes=").removesuffix("-")) <= broken.stat().st_size // 2


def test_a_gated_model(hub: SmallHub, client: Client, tiny: Tiny) -> None:
    hub.repositories["org/gated"] = Repository({"main": tiny("llama")}, gated=True)
    answer = client.load("org/gated")
    assert "'org/gated' is gated: ask for access at" in answer["error"]
    assert "hf auth login" in answer["error"]
    assert answer["seconds"] < 3


def test_an_unknown_model(client: Client) -> None:
    answer = client.load("org/no-such-model")
    assert "neither a folder here nor a model on the hub" in answer["error"]
    assert "check the spelling" in answer["error"]
    assert answer["seconds"] < 3


def test_a_file_is_missing(hub: SmallHub, client: Client, folder: Path, tmp_path: Path) -> None:
    bare, cut = tmp_path / "bare", tmp_path / "cut"
    for copy in (bare, cut):
        shutil.copytree(folder, copy)
    (bare / "config.json").unlink()
    gone = sorted(cut.glob("*.safetensors"))[1]
    gone.unlink()
    hub.repositories |= {"org/bare": Repository({"main": bare})}
    hub.repositories |= {"org/cut": Repository({"main": cut})}
    assert "'org/bare' has no config.json on the hub" in client.load("org/bare")["error"]
    answer = client.load("org/cut")["error"]
    assert gone.name in answer
    assert "is missing, but model.safetensors.index.json lists it" in answer


def test_gguf_files_only(hub: SmallHub, client: Client, tmp_path: Path) -> None:
    (tmp_path / "model-q8.gguf").touch()
    hub.repositories["org/gguf"] = Repository({"main": tmp_path})
    assert "holds GGUF files and no config.json" in client.load("org/gguf")["error"]


def test_no_network(client: Client, hub: SmallHub, folder: Path) -> None:
    """The last test of this file: what is in the cache still loads, the rest is told at once."""
    hub.repositories["org/cached"] = Repository({"main": folder})
    client.load("org/cached")
    hub.close()
    assert client.load("org/cached")["parameters"]
    answer = client.load("org/never-seen")
    assert "cannot be fetched" in answer["error"]
    assert hub.url in answer["error"]
    assert "\n" not in answer["error"]
    assert answer["seconds"] < 3
