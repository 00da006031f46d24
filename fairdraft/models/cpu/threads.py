"""Threads that share a kernel's work in small pieces, and leave a busy machine to others.

A job is a compiled function and a number of pieces. The caller and the threads that are awake claim
pieces one by one; the caller waits for claimed pieces only, never for a thread that has not come. A
thread without a core therefore holds up nobody. Who waits spins for some microseconds, because the
next job of a model's run is near, and then sleeps, so that another process gets the core.

One job runs at a time. A caller who finds the threads taken does all pieces alone.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,no-any-unimported"

from __future__ import annotations

import atexit
import os
import platform
import threading
from collections.abc import Callable
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from llvmlite import ir
from numba import cfunc, njit, types
from numba.extending import intrinsic

_I32, _I64 = ir.IntType(32), ir.IntType(64)
SPIN_SECONDS = 50e-6  # how long a thread waits awake; jobs of one run lie closer together

# The shared state, int64, each on a cache line of its own. EPOCH is odd while a job is open.
_EPOCH, _NEXT, _ACTIVE, _SLEEPING, _WAITING, _TAKEN, _STOP = range(0, 56, 8)
_JOB = 56  # kernel, arguments, pieces, how many threads may join
_STATE_SIZE = 64

_ON_LINUX = platform.system() == "Linux"
_FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine()) if _ON_LINUX else None


def _pointer(b, address, kind=_I64):
    return b.inttoptr(address, kind.as_pointer())


@intrinsic
def _add(_context, address, value):
    """Add to the int64 at an address, as one indivisible step; returns what was there."""

    def generate(_cg, b, _signature, args):
        return b.atomic_rmw("add", _pointer(b, args[0]), args[1], "seq_cst")

    return types.int64(types.uintp, types.int64), generate


@intrinsic
def _read(_context, address):
    """The int64 at an address, as all threads see it."""

    def generate(_cg, b, _signature, args):
        return b.load_atomic(_pointer(b, args[0]), "seq_cst", 8)

    return types.int64(types.uintp), generate


@intrinsic
def _write(_context, address, value):
    """Set the int64 at an address for all threads to see."""

    def generate(cg, b, _signature, args):
        b.store_atomic(args[1], _pointer(b, args[0]), "seq_cst", 8)
        return cg.get_dummy_value()

    return types.void(types.uintp, types.int64), generate


@intrinsic
def _take(_context, address):
    """Whether the int64 at an address was 0 and is now 1."""

    def generate(_cg, b, _signature, args):
        zero, one = ir.Constant(_I64, 0), ir.Constant(_I64, 1)
        result = b.cmpxchg(_pointer(b, args[0]), zero, one, "seq_cst", "seq_cst")
        return b.extract_value(result, 1)

    return types.boolean(types.uintp), generate


@intrinsic
def _pause(_context):
    """Tell the processor that this thread spins."""

    def generate(cg, b, _signature, _args):
        if platform.machine() == "x86_64":
            kind = ir.FunctionType(ir.VoidType(), [])
            b.call(b.module.declare_intrinsic("llvm.x86.sse2.pause", (), kind), [])
        return cg.get_dummy_value()

    return types.void(), generate


@intrinsic
def _sleep_while(_context, address, value):
    """Sleep while the int64 at an address is `value`; may return early."""

    def generate(cg, b, _signature, args):
        _system_call(b, args[0], 128, b.trunc(args[1], _I32))  # FUTEX_WAIT_PRIVATE
        return cg.get_dummy_value()

    return types.void(types.uintp, types.int64), generate


@intrinsic
def _wake(_context, address):
    """Wake all who sleep on an address."""

    def generate(cg, b, _signature, args):
        if _FUTEX is not None:
            _system_call(b, args[0], 129, ir.Constant(_I32, 1 << 30))  # FUTEX_WAKE_PRIVATE
        return cg.get_dummy_value()

    return types.void(types.uintp), generate


def _system_call(b, address, operation: int, value) -> None:
    """A futex call; where there is none, a nap of 50 microseconds stands in for sleep."""
    module = b.module
    if _FUTEX is None:
        kind = ir.FunctionType(_I32, [_I32])
        nap = module.globals.get("usleep") or ir.Function(module, kind, "usleep")
        b.call(nap, [ir.Constant(_I32, 50)])
        return
    kind = ir.FunctionType(_I64, [_I64], var_arg=True)
    call = module.globals.get("syscall") or ir.Function(module, kind, "syscall")
    zero = ir.Constant(_I64, 0)
    arguments = [ir.Constant(_I64, _FUTEX), address, ir.Constant(_I32, operation), value]
    b.call(call, [*arguments, zero, zero, zero])


@intrinsic
def _call(_context, kernel, arguments, piece):
    """Run one piece of the kernel at an address."""

    def generate(cg, b, _signature, args):
        kind = ir.FunctionType(ir.VoidType(), [_I64.as_pointer(), _I64])
        kernel, arguments, piece = args
        b.call(_pointer(b, kernel, kind), [_pointer(b, arguments), piece])
        return cg.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.int64), generate


@njit(inline="always")
def _at(state, index):
    return np.uintp(state.ctypes.data + 8 * index)


@njit(cache=True)
def _claim(state):
    """Do pieces of the open job until none is left."""
    kernel, arguments, pieces = state[_JOB], state[_JOB + 1], state[_JOB + 2]
    piece = _add(_at(state, _NEXT), 1)
    while piece < pieces:
        _call(np.uintp(kernel), np.uintp(arguments), piece)
        piece = _add(_at(state, _NEXT), 1)


@njit(cache=True, nogil=True)
def _serve(state, index, spins):
    """What thread `index` does all its life: wait for a job, take part, until told to stop."""
    seen = np.int64(0)
    while True:
        epoch = _read(_at(state, _EPOCH))
        spun = 0
        while epoch == seen or epoch % 2 == 0:
            if _read(_at(state, _STOP)):
                return
            if spun < spins:
                spun += 1
                _pause()
            else:
                _add(_at(state, _SLEEPING), 1)
                _sleep_while(_at(state, _EPOCH), epoch)
                _add(_at(state, _SLEEPING), -1)
            epoch = _read(_at(state, _EPOCH))
        seen = epoch
        # Joined first, looked second: the caller closes first and looks second, so that either the
        # caller sees this thread and waits, or this thread sees that the job is closed.
        _add(_at(state, _ACTIVE), 1)
        if _read(_at(state, _EPOCH)) == epoch and index < state[_JOB + 3]:
            _claim(state)
        if _add(_at(state, _ACTIVE), -1) == 1 and _read(_at(state, _WAITING)):
            _wake(_at(state, _ACTIVE))


@njit
def _run(state, kernel, arguments, pieces, joining, spins):
    """Do all pieces of a job, with the help of up to `joining` threads."""
    if pieces <= 1 or joining < 1 or not _take(_at(state, _TAKEN)):
        for piece in range(pieces):
            _call(np.uintp(kernel), np.uintp(arguments), piece)
        return
    state[_JOB], state[_JOB + 1], state[_JOB + 2] = kernel, arguments, pieces
    state[_JOB + 3] = joining
    _write(_at(state, _NEXT), 0)
    _add(_at(state, _EPOCH), 1)
    if _read(_at(state, _SLEEPING)):
        _wake(_at(state, _EPOCH))
    _claim(state)
    _add(_at(state, _EPOCH), 1)
    spun = 0
    active = _read(_at(state, _ACTIVE))
    while active:
        if spun < spins:
            spun += 1
            _pause()
        else:
            _write(_at(state, _WAITING), 1)
            _sleep_while(_at(state, _ACTIVE), active)
            _write(_at(state, _WAITING), 0)
        active = _read(_at(state, _ACTIVE))
    _write(_at(state, _TAKEN), 0)


@njit(cache=True)
def _run_one(state, kernel, arguments, pieces, joining, spins):
    _run(state, kernel, arguments.ctypes.data, pieces, joining, spins)


@njit(cache=True, nogil=True)
def _run_all(state, calls, joining, spins):
    """Do jobs one after the other; calls: [n, 3] kernels, addresses of arguments, pieces."""
    for i in range(calls.shape[0]):
        _run(state, calls[i, 0], calls[i, 1], calls[i, 2], joining, spins)


@njit
def _pauses(count):
    for _ in range(count):
        _pause()


def _spins() -> int:
    """How many pauses take `SPIN_SECONDS`; a pause is 5 to 40 nanoseconds, by processor."""
    count = 20_000
    _pauses(1)
    start = perf_counter()
    _pauses(count)
    return max(1, int(SPIN_SECONDS * count / (perf_counter() - start)))


class _Crew:
    """The threads, started once; as many as torch uses, less the caller."""

    def __init__(self, size: int) -> None:
        self.size = size
        memory = np.zeros(_STATE_SIZE + 8, np.int64)
        first = -memory.ctypes.data // 8 % 8
        self.state = memory[first : first + _STATE_SIZE]
        self.spins = _spins()
        self.threads = [
            threading.Thread(
                target=_serve, args=(self.state, i, self.spins), name="fairdraft", daemon=True
            )
            for i in range(size)
        ]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Let a job in progress end, and the threads go."""
        _retire(self.state)
        for thread in self.threads:
            thread.join()


@njit(cache=True, nogil=True)
def _retire(state):
    while not _take(_at(state, _TAKEN)):
        _pause()
    _write(_at(state, _STOP), 1)
    _add(_at(state, _EPOCH), 2)
    _wake(_at(state, _EPOCH))


_crew: _Crew | None = None
_starting = threading.Lock()


def _present_crew() -> _Crew:
    global _crew
    size = count() - 1
    crew = _crew
    if crew is None or crew.size < size:
        with _starting:
            if _crew is None or _crew.size < size:
                if _crew is not None:
                    _crew.stop()
                _crew = _Crew(size)
            crew = _crew
    return crew


def stop() -> None:
    """End the threads; the next job starts new ones."""
    global _crew
    if _crew is not None:
        _crew.stop()
        _crew = None


def _forget() -> None:
    """In a forked child no thread is left."""
    global _crew
    _crew = None


atexit.register(stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class Kernel:
    """A function of (arguments, piece) that `run` shares among threads; compiled when first used.

    Args:
        function: takes a pointer to int64 arguments (counts, and addresses of arrays) and the
            number of the piece to do. Pieces may run in any order and at the same time.
        options: of numba's `cfunc`.
    """

    def __init__(self, function: Callable[[Any, Any], None], **options: Any) -> None:
        self._function = function
        self._options = options

    @cached_property
    def _compiled(self) -> Any:
        signature = types.void(types.CPointer(types.int64), types.int64)
        return cfunc(signature, cache=True, **self._options)(self._function)

    @cached_property
    def address(self) -> int:
        """Where the compiled function is."""
        address: int = self._compiled.address
        return address


def count() -> int:
    """Return how many threads share a job: as many as torch uses."""
    return torch.get_num_threads()


def run(kernel: Kernel, arguments: npt.NDArray[np.int64], pieces: int) -> None:
    """Do all pieces of a kernel's work, shared among as many threads as torch uses.

    Args:
        kernel: the work.
        arguments: as the kernel takes them; the arrays they point to must live until this returns.
        pieces: how many there are; one wakes no thread.
    """
    crew = _present_crew()
    _run_one(crew.state, kernel.address, arguments, pieces, count() - 1, crew.spins)


def run_all(calls: npt.NDArray[np.int64]) -> None:
    """Do jobs one after the other, each shared as by `run`; other Python threads run meanwhile.

    Args:
        calls: [n, 3], each job's kernel address, address of arguments and number of pieces. All
            that they point to must live until this returns.
    """
    crew = _present_crew()
    _run_all(crew.state, calls, count() - 1, crew.spins)
