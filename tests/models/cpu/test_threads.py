"""Jobs in pieces: each piece once, whoever is awake, however many callers there are."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from fairdraft.compiled import array_at
from fairdraft.models.cpu import threads
from fairdraft.models.cpu.threads import Kernel, run


def _count(arguments, number):  # type: ignore[no-untyped-def]
    done = array_at(arguments[0], (arguments[1],), np.int64)
    for _ in range(arguments[2]):
        done[number] += 1


COUNT = Kernel(_count)


def count(pieces: int, times: int = 1) -> np.ndarray:
    done = np.zeros(pieces, np.int64)
    run(COUNT, np.array([done.ctypes.data, pieces, times], np.int64), pieces)
    return done


@pytest.fixture(params=[1, 2, 4])
def several_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("pieces", [0, 1, 2, 7, 500])
def test_each_piece_is_done_once(pieces: int, several_threads: int) -> None:
    for _ in range(200):
        assert (count(pieces) == 1).all()


def test_callers_at_once_get_their_own_work_done(several_threads: int) -> None:
    wrong: list[int] = []

    def caller(pieces: int) -> None:
        for times in range(1, 100):
            if not (count(pieces, times) == times).all():
                wrong.append(times)

    callers = [threading.Thread(target=caller, args=(n,)) for n in (3, 40, 100)]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    assert not wrong


def test_sleeping_threads_come_back(several_threads: int) -> None:
    done = threading.Event()
    for _ in range(20):
        done.wait(0.002)  # far longer than a thread waits awake
        assert (count(64, 1000) == 1000).all()


def test_the_crew_ends_with_its_work(several_threads: int) -> None:
    count(10)
    threads.stop()
    assert not [t for t in threading.enumerate() if t.name == "fairdraft"]
    assert (count(10) == 1).all()
