"""Whatever the command line is given, it ends with a code and a sentence, never with a traceback.

`FAIRDRAFT_FUZZ_CASES` says how many cases each test tries; `make fuzz` tries many.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import typer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fairdraft.cli.main import app, main

CASES = int(os.environ.get("FAIRDRAFT_FUZZ_CASES", "150"))
fuzz = settings(
    max_examples=CASES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # a case may take a second: a failing one is not made smaller
    suppress_health_check=list(HealthCheck),
)

# Of these a large number is no mistake, but takes its time.
COUNTS = {"rounds", "max_tokens", "num_prompts", "epochs", "self_written", "limit", "streams"}
OUTPUTS = {"out", "plot", "svg", "trace"}
BAD_VALUES = (
    "",
    " ",
    "-1",
    "0",
    "1",
    "1.5",
    "nan",
    "inf",
    "1e400",
    "caf\udce9",
    "self",
    "none",
    "auto",
    "nonsense",
    "model",
    "off",
    "1,2,,x",
    "{}",
    "[]",
    "null",
    '{"method": "ngram", "self": 1}',
    '{"method": "ngram", "method": "suffix"}',
    '{"method": "eagle3", "model": ""}',
    '{"method": "ngram", "num_speculative_tokens": NaN}',
    '{"method": ["ngram"]}',
    '{"method": "ngram", "prompt_lookup_max": 1e999}',
    "[" * 50_000,
    "/nowhere/at/all.json",
    "FOLDER",
    "FILE",
    "BINARY",
)
LARGE_VALUES = ("1000000", "9" * 30, "1" + "0" * 5000)


def run(*args: str) -> tuple[int, str]:
    """Run the command line: its exit code and all that it wrote."""
    written = io.StringIO()
    with (
        contextlib.redirect_stdout(written),
        contextlib.redirect_stderr(written),
        pytest.raises(SystemExit) as end,
    ):
        main(args)
    code = end.value.code
    assert isinstance(code, int)
    return code, written.getvalue()


def check(*args: str) -> int:
    """Run the command line and hold it to its promise."""
    code, written = run(*args)
    assert code in (0, 1, 2), (code, written)
    assert "Traceback" not in written
    if code == 2:  # "error: …" is ours; a usage error has its own form, no word at all gets help
        assert "rror" in written or not args, written
    return code


@pytest.fixture(scope="module")
def good(
    tiny: str, tmp_path_factory: pytest.TempPathFactory, offline: None
) -> dict[str, tuple[str, ...]]:
    """For each verb: options that work, with files that are whole."""
    folder = tmp_path_factory.mktemp("good")
    prompts = folder / "prompts.jsonl"
    prompts.write_text('{"prompt": "abc abc abc abc"}\n{"question": "ab ab ab ab?"}\n')
    profile, trace, bench = folder / "profile.json", folder / "trace.jsonl", folder / "bench.json"
    log, baseline = folder / "on.log", folder / "off.log"
    line = (
        "INFO [loggers.py:257] Engine 000: Avg generation throughput: {} tokens/s, Running: 1 reqs"
    )
    drafts = (
        "INFO [metrics.py:120] SpecDecoding metrics: Mean acceptance length: 1.97, Accepted "
        "throughput: 63.0 tokens/s, Drafted throughput: 65.2 tokens/s, Accepted: 630 tokens, "
        "Drafted: 652 tokens, Per-position acceptance rate: 0.966, Avg Draft acceptance rate: 96.6%"
    )
    log.write_text(
        "".join(f"{line.format(rate)}, Waiting: 0 reqs\n{drafts}\n" for rate in (127, 128))
    )
    baseline.write_text("".join(f"{line.format(rate)}, Waiting: 0 reqs\n" for rate in (342, 343)))
    small = ("--model", tiny, "--dtype", "float32")
    grid = ("--requests", "1", "--k", "1,2", "--contexts", "16,300", "--rounds", "3")
    cheap = ("--num-prompts", "2", "--max-tokens", "4", "--rounds", "1", "--k", "2")
    train = ("--model", tiny, "--data", str(prompts), "--held-out", str(prompts))
    verbs = {
        "profile": (*small, *grid, "--methods", "ngram", "--out", str(profile)),
        "generate": ("abab abab", *small, "--max-tokens", "12", "--trace", str(trace)),
        "bench run": (str(prompts), *small, *cheap, "--concurrency", "1", "--out", str(bench)),
        "bench plot": (str(bench),),
        "demo": (*small, "--max-tokens", "4", "--rounds", "1"),
        "plan": ("--profile", str(profile), "--alpha", "ngram=0.6"),
        "reconcile": (str(bench), "--profile", str(profile)),
        "replay": (str(trace), "--method", "ngram", "--profile", str(profile)),
        "diagnose": (str(log), "--baseline", str(baseline)),
        "inspect": (tiny, "--model", tiny),
        "prove": (),
    } | {
        f"train {kind}": (*train, "--epochs", "1", "--max-tokens", "4", "--draft-vocab-size", "64")
        for kind in ("eagle3", "medusa", "dflash", "draft-model")
    }
    for verb in ("profile", "generate", "bench run", "bench plot", "plan", "reconcile", "diagnose"):
        assert check(*verb.split(), *verbs[verb]) == 0, run(*verb.split(), *verbs[verb])
    return verbs


@pytest.fixture(scope="module")
def offline() -> Iterator[None]:
    """Names of models are not looked for on the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        yield


@pytest.fixture(scope="module", autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a verb writes by default goes to a folder of the test's own."""
    with contextlib.chdir(tmp_path_factory.mktemp("elsewhere")):
        yield


def parameters(verb: str) -> list[Any]:
    """A verb's options, as the command line itself knows them."""
    command: Any = typer.main.get_command(app)
    for word in verb.split():
        _, command, _ = command.resolve_command(command.make_context("fairdraft", ["x"]), [word])
    return [each for each in command.params if each.name not in ("help", "data", "held_out")]


@fuzz
@given(data=st.data())
def test_bad_values(
    data: st.DataObject,
    good: dict[str, tuple[str, ...]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Some options of a verb get values that no one should give."""
    verb = data.draw(st.sampled_from(sorted(set(good) - {"prove"})), "verb")
    args = list(good[verb])
    for _ in range(data.draw(st.integers(1, 2))):
        option = data.draw(st.sampled_from(parameters(verb)), "option")
        if option.name == "version":
            continue
        more = () if option.name in COUNTS else LARGE_VALUES
        if option.name in OUTPUTS:
            more = ("/dev/full",)  # to read it would never end
        value = data.draw(st.sampled_from((*BAD_VALUES, *more)), "value")
        if value in ("FOLDER", "FILE", "BINARY"):
            folder = tmp_path_factory.mktemp("given")
            (folder / "FILE").write_text("hello\n")
            (folder / "BINARY").write_bytes(bytes(range(256)))
            value = str(folder if value == "FOLDER" else folder / value)
        if not option.opts[0].startswith("-"):
            args[:1] = [value]
        elif option.is_flag:
            args.append(data.draw(st.sampled_from([*option.opts, *option.secondary_opts])))
        else:
            args += [option.opts[0], value]
    check(*verb.split(), *args)


# For each file that a user gives: the verb that reads it and the option or place that names it.
FILES = (
    ("plan", "profile.json"),
    ("reconcile", "bench.json"),
    ("reconcile", "profile.json"),
    ("replay", "trace.jsonl"),
    ("replay", "profile.json"),
    ("bench plot", "bench.json"),
    ("bench run", "prompts.jsonl"),
    ("diagnose", "on.log"),
    ("diagnose", "off.log"),
    ("generate", "config.json"),
    ("generate", "tokenizer.json"),
    ("generate", "tokenizer_config.json"),
    ("generate", "generation_config.json"),
    ("generate", "model.safetensors"),
    ("inspect", "config.json"),
    ("inspect", "model.safetensors"),
)

JSON_VALUES = st.sampled_from([None, True, -1, 0, 1.5, 10**30, "", "x", [], [[]], {}, "é" * 9])


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A way to damage a file's bytes."""
    how = draw(st.sampled_from(["cut", "flip", "insert", "drop", "value", "empty", "deep"]))
    share = draw(st.floats(0, 1))
    byte = draw(st.integers(1, 255))
    junk = draw(st.sampled_from([b"\xff\xfe", b"\x00", b"{", b'"', b"9" * 30, b"null", b"\n\n"]))
    value = draw(JSON_VALUES)

    def damage(content: bytes) -> bytes:
        place = int(share * max(len(content) - 1, 0))
        if how == "cut":
            return content[:place]
        if how == "flip" and content:
            return content[:place] + bytes([content[place] ^ byte]) + content[place + 1 :]
        if how == "insert":
            return content[:place] + junk + content[place:]
        if how == "drop":
            return content[:place] + content[place + 1 + byte :]
        if how == "value":
            return _with_value(content, share, value)
        return b"" if how == "empty" else b"[" * 20_000

    return damage


def _with_value(content: bytes, share: float, value: Any) -> bytes:
    """One value of a JSON document replaced; what is no JSON stays as it is."""
    try:
        document = json.loads(content.split(b"\n")[0] if b'"step"' in content[:20] else content)
    except ValueError:
        return content
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys = node if isinstance(node, dict) else range(len(node))
        for key in keys:
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    if not isinstance(document, dict | list):
        return content
    walk(document)
    if places:
        node, key = places[int(share * (len(places) - 1))]
        node[key] = value
    return json.dumps(document).encode()


@fuzz
@given(place=st.sampled_from(FILES), damage=damages())
def test_damaged_files(
    place: tuple[str, str],
    damage: Callable[[bytes], bytes],
    good: dict[str, tuple[str, ...]],
    tiny: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A file that was whole is cut, changed or filled with something else."""
    verb, name = place
    folder = tmp_path_factory.mktemp("damaged")
    if (Path(tiny) / name).exists():
        shutil.copytree(tiny, folder, dirs_exist_ok=True)
        args = [str(folder) if arg == tiny else arg for arg in good[verb]]
    else:
        source = next(Path(arg) for arg in good["plan"] if arg.endswith("profile.json")).parent
        shutil.copy(source / name, folder / name)
        args = [arg.replace(str(source / name), str(folder / name)) for arg in good[verb]]
        assert str(folder / name) in args
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    check(*verb.split(), *args)


@pytest.mark.parametrize(("verb", "name"), FILES)
def test_a_folder_in_place_of_a_file(
    verb: str, name: str, good: dict[str, tuple[str, ...]], tiny: str, tmp_path: Path
) -> None:
    if (Path(tiny) / name).exists():
        shutil.copytree(tiny, tmp_path, dirs_exist_ok=True)
        (tmp_path / name).unlink()
        args = [str(tmp_path) if arg == tiny else arg for arg in good[verb]]
    else:
        args = [str(tmp_path / name) if arg.endswith(f"/{name}") else arg for arg in good[verb]]
    (tmp_path / name).mkdir()
    assert check(*verb.split(), *args) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("verb", ["generate", "plan", "diagnose", "reconcile", "demo"])
def test_a_full_stdout(
    verb: str, good: dict[str, tuple[str, ...]], capfd: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w") as full, contextlib.redirect_stdout(full):
        with pytest.raises(SystemExit) as end:
            main([*verb.split(), *good[verb]])
        with contextlib.suppress(OSError):
            full.flush()
    assert end.value.code == 2
    assert "No space left on device" in capfd.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    ("verb", "option"),
    [
        ("generate", "--trace"),
        ("demo", "--svg"),
        ("profile", "--out"),
        ("profile", "--plot"),
        ("plan", "--out"),
        ("bench run", "--out"),
        ("bench plot", "--out"),
    ],
)
def test_a_full_disk_and_a_place_that_is_not_there(
    verb: str, option: str, good: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    for path in (str(tmp_path), "/nowhere/at/all.svg", "/dev/full"):
        args = [*good[verb], option, path]
        code, written = run(*verb.split(), *args)
        assert code == 2, (path, written)
        assert "Traceback" not in written


@fuzz
@given(words=st.lists(st.text(string.printable, max_size=9), max_size=4))
def test_words_that_are_no_verb(words: list[str]) -> None:
    check(*words)
