"""Writing files whole or not at all, and the error of a full disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from fairdraft.errors import TrainingError


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside `path`, then put it in place; what was there before stays until then.

    Args:
        path: where it goes; its folder is made.
        write: called with the path to write to.

    Raises:
        TrainingError: it cannot be written; nothing has changed.
    """
    scratch = path.with_name(f".{path.name}.partial")
    with writing(path, RuntimeError):  # as torch.save tells of a full disk
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(scratch)
            with scratch.open("rb") as file:
                os.fsync(file.fileno())
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)


@contextmanager
def writing(path: Path, *also: type[Exception]) -> Iterator[None]:
    """Turn errors of writing into one that says what to do.

    Args:
        path: what is written.
        also: errors that mean so too, besides OSError and safetensors' own.

    Raises:
        TrainingError: it cannot.
    """
    kinds: tuple[type[Exception], ...] = (OSError, SafetensorError, *also)
    try:
        yield
    except kinds as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or _is_full(path.parent)
        reason = "the disk is full" if full else str(error).strip().splitlines()[0]
        raise TrainingError(
            f"{str(path)!r} cannot be written ({reason}): make room, or point --out to another "
            "disk, and run the same command again; it goes on from what was kept"
        ) from error


def _is_full(folder: Path) -> bool:
    try:
        stat = os.statvfs(folder)
    except OSError:
        return False
    return stat.f_bavail * stat.f_frsize < 1 << 20
