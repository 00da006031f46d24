"""What is bound to its process says so after a fork, and refuses to be pickled or copied."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable

import pytest

from fairdraft.errors import ProcessError
from fairdraft.process_bound import ProcessBound


class Machine(ProcessBound):
    """Does something, where it was made."""

    def __init__(self, number: int, *, name: str = "") -> None:
        self.number = number
        self.name = name

    def work(self) -> int:
        self.require_own_process()
        return self.number


def test_at_home_it_works() -> None:
    assert Machine(3, name="x").work() == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_after_a_fork_it_is_refused_with_both_processes_named() -> None:
    machine = Machine(3)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            machine.work()
            message = "it worked"
        except ProcessError as error:
            message = str(error)
        os.write(writing, message.encode())
        os._exit(0)
    os.close(writing)
    message = os.read(reading, 10_000).decode()
    os.close(reading)
    assert os.waitpid(child, 0)[1] == 0
    assert f"made in process {os.getpid()} and is used in process {child}" in message
    assert "Make it after the fork" in message


@pytest.mark.parametrize("move", [pickle.dumps, copy.copy, copy.deepcopy])
def test_pickling_and_copying_are_refused(move: Callable[[Machine], object]) -> None:
    with pytest.raises(ProcessError, match="Send the name of the model and make the Machine"):
        move(Machine(3))
