"""vLLM's own log lines, read; what does not add up is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairdraft.errors import ReadingError
from fairdraft.peers import Reading, read

ENGINE = (
    "INFO 06-01 12:00:{second:02d} [loggers.py:257] Engine {engine:03d}: Avg prompt throughput: "
    "3.0 tokens/s, Avg generation throughput: {rate} tokens/s, Running: {running} reqs, Waiting: 0 "
    "reqs, GPU KV cache usage: 0.4%, Prefix cache hit rate: 0.0%\n"
)


def drafts(accepted: int, drafted: int, rates: str, speed: float, second: int = 0) -> str:
    """The line that vLLM writes after the engine's, its figures in agreement."""
    length = 1 + sum(float(rate) for rate in rates.split(", "))
    return (
        f"INFO 06-01 12:00:{second:02d} [metrics.py:120] SpecDecoding metrics: Mean acceptance "
        f"length: {length:.2f}, Accepted throughput: 63.00 tokens/s, Drafted throughput: "
        f"{speed:.2f} tokens/s, Accepted: {accepted} tokens, Drafted: {drafted} tokens, "
        f"Per-position acceptance rate: {rates}, Avg Draft acceptance rate: "
        f"{100 * accepted / drafted:.1f}%\n"
    )


def log(path: Path, rates: list[float], line: str = "", running: int = 1) -> Path:
    """A server's log, an idle window at both ends; `line` follows each of the others."""
    lines = [ENGINE.format(second=0, engine=0, rate="0.0", running=0)]
    for i, rate in enumerate(rates, 1):
        lines.append(ENGINE.format(second=10 * i, engine=0, rate=rate, running=running))
        lines.append(line.replace("12:00:00", f"12:00:{10 * i:02d}"))
    lines.append(ENGINE.format(second=59, engine=0, rate="0.0", running=0))
    path.write_text("".join(lines))
    return path


def test_a_log(tmp_path: Path) -> None:
    """FACTS.md, section 3: 96.6% accepted, 342 → 128 tokens/s."""
    line = drafts(630, 652, "0.966", 65.2)
    on = read(log(tmp_path / "on.log", [127.9, 128.3, 128.0], line))
    off = read(log(tmp_path / "off.log", [342.0, 341.0, 343.5]))
    assert on.speculates
    assert not off.speculates
    assert (on.accepted, on.drafted, on.rounds, on.k) == (3 * 630, 3 * 652, 3 * 652, 1)
    assert on.acceptance_rate == pytest.approx(0.966, abs=1e-3)
    assert on.accepted_per_position == (pytest.approx(3 * 652 * 0.966),)
    assert on.draft_share == pytest.approx(1, abs=0.01)
    assert on.biases == ("rounds are worked out, not counted",)
    assert not on.step_is_measured
    assert on.step_time == pytest.approx(15.35e-3, abs=0.05e-3)
    assert off.step_time == pytest.approx(2.92e-3, abs=0.01e-3)


def test_windows_without_a_draft_are_steps_too(tmp_path: Path) -> None:
    """n-gram: 10 s windows of 40 tokens/s, in which 40 rounds of 3 drafts gain 60 tokens each."""
    path = log(tmp_path / "x.log", [40.0] * 4, drafts(60, 120, "0.700, 0.500, 0.300", 12))
    after_a_pause = path.read_text().replace("throughput: 12.00", "throughput: 0.20", 1)
    path.write_text(after_a_pause)
    found = read(path)
    assert found.rounds == 160
    assert found.steps == pytest.approx(4 * 400 - 4 * 60)
    assert found.tokens_per_step == pytest.approx(1600 / 1360)


def test_any_number_of_windows_says_the_same(tmp_path: Path) -> None:
    line = drafts(60, 120, "0.700, 0.500, 0.300", 12)
    for i in (1, 2, 3, 4):
        found = read(log(tmp_path / "x.log", [40.0] * i, line))
        assert found.step_time == pytest.approx(1 / 34)
        assert found.draft_share == pytest.approx(40 / 340)
        assert (found.seconds, len(found.windows)) == (10 * i, i)
        assert [each.generated for each in found.windows] == [400] * i


def test_a_log_in_which_k_varied_believes_the_rates(tmp_path: Path) -> None:
    """120 drafts of at most 3 are 40 rounds, but 1 + 60/40 is not the 2.00 that is printed."""
    found = read(log(tmp_path / "x.log", [40.0], drafts(60, 120, "0.600, 0.300, 0.100", 12)))
    assert found.rounds == pytest.approx(60)
    assert (found.k, found.max_k) == (pytest.approx(2), 3)
    assert any("k varied" in note for note in found.biases)


def test_older_lines_with_and_without_the_bonus_token(tmp_path: Path) -> None:
    for length in ("5.44", "4.44"):
        line = (
            "INFO 06-01 12:00:00 [metrics.py:96] SpecDecoding metrics: Draft acceptance rate: "
            f"88.8%, Mean acceptance length: {length}, Accepted: 262 tokens, Drafted: 295 tokens, "
            "Per-position acceptance rate: 0.983, 0.949, 0.915, 0.881, 0.712\n"
        )
        found = read(log(tmp_path / "x.log", [40.0], line))
        assert (found.rounds, found.k, len(found.survivals)) == (59, 5, 5)
        assert found.survivals[-1] == pytest.approx(0.712)
        assert found.acceptance_length == pytest.approx(5.44, abs=0.005)


def _several(first: str, second: str) -> str:
    line = drafts(40, 80, "0.600, 0.400", 8)
    return first + line + second + line


def test_engines_of_one_server_are_added_up(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text(
        "".join(
            _several(
                ENGINE.format(second=second, engine=0, rate=8.0, running=2),
                ENGINE.format(second=second, engine=1, rate=12.0, running=3),
            ).replace("12:00:00", f"12:00:{second}")
            for second in (10, 20)
        )
    )
    found = read(path)
    assert (found.tokens_per_second, found.requests, found.engines) == (20, 5, 2)
    assert (found.rounds, found.seconds, len(found.windows)) == (160, 20, 2)


def test_lines_of_all_engines_together(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    line = ENGINE.format(second=10, engine=0, rate=8.0, running=2)
    line = line.replace("Engine 000", "4 Engines Aggregated")
    path.write_text(line.replace("Waiting: 0 reqs", "Waiting: 7 reqs, Preemptions: 3"))
    found = read(path)
    assert (found.engines, found.waiting, found.preemptions) == (4, 7, 3)
    assert found.kv_usage == pytest.approx(0.004)
    found = read_text(path, path.read_text() + drafts(40, 80, "0.600, 0.400", 0, second=10))
    assert any("10 s are assumed" in note for note in found.biases)


def test_lines_that_stand_there_twice_count_once(tmp_path: Path) -> None:
    path = log(tmp_path / "x.log", [40.0] * 3, drafts(60, 120, "0.700, 0.500, 0.300", 12))
    once, text = read(path), path.read_text()
    for twice in (text + text, "".join(line + line for line in text.splitlines(True))):
        path.write_text(twice)
        found = read(path)
        assert (found.rounds, found.generated) == (once.rounds, once.generated)
        assert any("twice" in note for note in found.biases)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (", 0.300, Avg", ", 0.3"),  # cut within a figure
        (", 0.500, 0.300, Avg Draft acceptance rate: 50.0%", ""),  # and between two
        ("0.700, 0.500, 0.300", "0,700, 0,500, 0,300"),
        ("Accepted: 60", "Accepted: 6"),
        ("Drafted: 120 tokens", "Drafted: 12"),
        ("acceptance length: 2.50", "acceptance length: 2,50"),
    ],
)
def test_a_window_whose_drafts_are_cut_is_left_out(tmp_path: Path, old: str, new: str) -> None:
    path = log(tmp_path / "x.log", [40.0] * 3, drafts(60, 120, "0.700, 0.500, 0.300", 12))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    found = read(path)
    assert (found.rounds, found.seconds) == (80, 20)
    assert any("1 lines are cut off" in note for note in found.biases)
    path.write_text(text.replace(old, new))
    with pytest.raises(ReadingError, match="3 of its lines are cut off"):
        read(path)


def test_drafts_whose_engine_line_is_lost_are_left_out(tmp_path: Path) -> None:
    path = log(tmp_path / "x.log", [40.0, 40.0, 40.0], drafts(60, 120, "0.700, 0.500, 0.300", 12))
    text = path.read_text().splitlines(True)
    for lost in (text[3], text[3][:60] + "\n"):
        path.write_text("".join([*text[:3], *(lost[:60].splitlines(True)), *text[4:]]))
        found = read(path)
        assert (found.rounds, len(found.windows)) == (80, 2)
        assert any("left out" in note for note in found.biases)


def _v0(accepted: int, drafted: int, emitted: int) -> str:
    return (
        "INFO 08-20 02:39:37 metrics.py:429] Speculative metrics: Draft acceptance rate: "
        f"{accepted / drafted:.3f}, System efficiency: 0.598, Number of speculative tokens: 3, "
        f"Number of accepted tokens: {accepted}, Number of draft tokens: {drafted}, Number of "
        f"emitted tokens: {emitted}.\n"
    )


V0 = (
    "INFO 08-20 02:39:37 metrics.py:411] Avg prompt throughput: 0.4 tokens/s, Avg generation "
    "throughput: 88.1 tokens/s, Running: 1 reqs, Swapped: 0 reqs, Pending: 2 reqs, GPU KV cache "
    "usage: 0.2%, CPU KV cache usage: 0.0%.\n"
)


def read_text(path: Path, text: str) -> Reading:
    path.write_text(text)
    return read(path)


def test_v0_counts_since_the_server_started(tmp_path: Path) -> None:
    path = tmp_path / "v0.log"
    one = read_text(path, V0 + _v0(8547, 13311, 10616))
    assert (one.rounds, one.k, one.accepted) == (4437, 3, 10616 - 4437)
    assert one.acceptance_length == pytest.approx(10616 / 4437)
    assert (one.requests, one.waiting, one.kv_usage) == (1, 2, pytest.approx(0.002))
    assert any("emitted / rounds = 2.39" in note and "2.93" in note for note in one.biases)
    assert any("since the server started" in note for note in one.biases)
    two = read_text(path, V0 + _v0(8547, 13311, 10616) + V0 + _v0(8847, 13911, 11016))
    assert (two.rounds, two.accepted) == (200, 400 - 200)
    assert not any("since the server started" in note for note in two.biases)


def test_v0_restarted(tmp_path: Path) -> None:
    with pytest.raises(ReadingError, match="restarted"):
        read_text(tmp_path / "v0.log", V0 + _v0(8547, 13311, 10616) + V0 + _v0(30, 60, 60))


def test_v0_cut_off(tmp_path: Path) -> None:
    text = V0 + _v0(8547, 13311, 10616)
    for line in (text[:-3] + "\n", text.replace("tokens: 8547", "tokens: 854")):
        with pytest.raises(ReadingError, match="cut off"):
            read_text(tmp_path / "v0.log", line)


def test_a_log_that_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(ReadingError, match="no window in which anything ran"):
        read(log(tmp_path / "idle.log", []))


def test_nobody_ran_as_the_lines_were_written(tmp_path: Path) -> None:
    found = read(log(tmp_path / "x.log", [40.0], running=0))
    assert found.step_time is None
    assert any("step time cannot be told" in note for note in found.biases)


@pytest.mark.parametrize("when", ["2026-06-01 12:00:{:02d},123 - vllm - INFO - ", "12:00:{:02d} "])
def test_windows_that_say_the_same_are_told_apart_by_a_time_ahead_of_them(
    tmp_path: Path, when: str
) -> None:
    line = drafts(60, 120, "0.700, 0.500, 0.300", 12)
    path = log(tmp_path / "x.log", [40.0] * 4, line)
    truth, stamped = read(path), []
    for each in path.read_text().splitlines(True):
        head, _, words = each.partition("] ")
        stamped.append(when.format(int(head.split()[2][-2:])) + words)
    path.write_text("".join(stamped))
    found = read(path)
    assert (found.rounds, found.seconds, len(found.windows)) == (truth.rounds, 40, 4)
    assert found.biases == truth.biases


NOTHING = (
    "INFO 06-01 12:00:{at} [metrics.py:96] SpecDecoding metrics: Draft acceptance rate: nan%, "
    "Mean acceptance length: nan, Accepted: 0 tokens, Drafted: 0 tokens, Per-position acceptance "
    "rate: nan, nan, nan\n",
    "INFO 06-01 12:00:{at} [metrics.py:53] SpecDecoding metrics: Draft acceptance rate: nan%, "
    "Accepted: 0 tokens, Drafted: 0 tokens\n",
)


@pytest.mark.parametrize("nothing", NOTHING)
def test_a_window_that_drafted_nothing_is_steps_too(tmp_path: Path, nothing: str) -> None:
    """vLLM before 0.9 says so with rates that are nan."""
    line = drafts(60, 120, "0.700, 0.500, 0.300", 12)
    text = log(tmp_path / "x.log", [40.0] * 4, line).read_text()
    for at in ("20", "30"):
        text = text.replace(line.replace("12:00:00", f"12:00:{at}"), nothing.format(at=at))
    found = read_text(tmp_path / "x.log", text)
    assert (found.rounds, len(found.windows)) == (80, 4)
    assert found.tokens_per_step == pytest.approx(1600 / (1600 - 120))
    assert found.biases == ("rounds are worked out, not counted",)


def _two_servers(first: str, second: str) -> str:
    pairs = [
        (ENGINE.format(second=at, engine=0, rate=rate, running=running), at)
        for at in (10, 20, 30, 40)
        for rate, running in ((8.0, 2), (12.0, 3))
    ]
    line = drafts(40, 80, "0.600, 0.400", 8)
    return "".join(
        who + each + who + line.replace("12:00:00", f"12:00:{at}")
        for who, (each, at) in zip((first, second) * 4, pairs, strict=True)
    )


def test_two_servers_in_one_log(tmp_path: Path) -> None:
    """Their processes tell them apart; where nothing does, half of the throughput is no reading."""
    path = tmp_path / "x.log"
    found = read_text(path, _two_servers("(APIServer pid=7) ", "(APIServer pid=8) "))
    assert (found.tokens_per_second, found.requests, found.engines) == (20, 5, 2)
    assert (found.seconds, len(found.windows)) == (40, 4)
    with pytest.raises(ReadingError, match="8 windows of one engine at 4 moments: two servers"):
        read_text(path, _two_servers("", ""))


def test_a_server_that_was_to_speculate_is_no_quiet_baseline(tmp_path: Path) -> None:
    path = log(tmp_path / "x.log", [40.0] * 3)
    start = (
        "INFO engine with config: speculative_config=SpeculativeConfig(method='ngram'), seed=0\n"
    )
    assert not read(path).biases
    found = read_text(path, start + path.read_text())
    assert any("started with speculation, and no window tells" in each for each in found.biases)
