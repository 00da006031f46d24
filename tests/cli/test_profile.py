"""`fairdraft profile` writes a profile and a picture, and says what it read off."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fairdraft.economics.costs.profile import Profile
from fairdraft.telemetry.environment import benchmark_environment

Run = Callable[..., tuple[int, str, str]]
SMALL = ("--requests", "1,2", "--k", "1,2", "--contexts", "16", "--rounds", "3")


def test_a_profile_and_its_picture(fairdraft: Run, tiny: str, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    code, out, _ = fairdraft("profile", "--model", tiny, *SMALL, "--out", str(path))
    assert code == 0
    for words in ("context 16", "2 requests", "λ", "c suffix", "c ngram", "Knee", "MiB", str(path)):
        assert words in out
    profile = Profile.load(path)
    assert (profile.model, list(profile.drafters)) == (tiny, ["ngram", "suffix"])
    profile.require_hardware(benchmark_environment())
    assert profile.step.rows == [1, 2, 3]
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_random_weights_of_a_shape(fairdraft: Run, tiny: str, tmp_path: Path) -> None:
    shape = str(Path(tiny) / "config.json")
    path, picture = tmp_path / "p.json", tmp_path / "p.svg"
    options = ("--config", shape, "--methods", "none", "--out", str(path), "--plot", str(picture))
    code, out, _ = fairdraft("profile", *options, *SMALL, "--dtype", "float32")
    assert code == 0
    assert "Knee" in out
    report = json.loads(path.read_text())
    assert (report["model"], report["drafters"]) == (shape, {})
    assert picture.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config", "smollm2-135m"], "add --methods none"),
        (["--config", "nonsense", "--methods", "none"], "neither a shape nor a config.json"),
        (["--rounds", "2"], "--rounds is 2"),
        (["--k", "0,1"], "--ks is 0"),
        (["--requests", "1,x"], "--requests is '1,x'"),
        (["--contexts", "500"], "the model was made for 512"),
        (["--methods", "nonsense"], "'nonsense' is unknown"),
        (["--methods", "auto"], "'auto' cannot be timed"),
        (["--methods", "eagle3"], "needs the key 'model'"),
        (["--out", "/nowhere/p.json"], "cannot be written"),
        (["--plot", "/nowhere/p.png"], "cannot be written"),
        (["--dtype", "int3"], "dtype is 'int3'"),
        (["--config", "smollm2-135m", "--methods", "none", "--dtype", "int3"], "dtype is 'int3'"),
    ],
)
def test_bad_input(
    options: list[str], message: str, fairdraft: Run, tiny: str, tmp_path: Path
) -> None:
    defaults = ["--model", tiny, *SMALL, "--out", str(tmp_path / "p.json")]
    code, out, err = fairdraft("profile", *defaults, *options)
    assert (code, out) == (2, "")
    assert message in err
    assert err.rpartition("error: ")[2]
    assert "Traceback" not in err
