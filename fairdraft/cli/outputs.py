"""Where a verb's results go: files that are tried before the work starts, and how a verb ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from fairdraft.errors import ConfigError, FairdraftError

BAD_INPUT = 2  # the exit code; 1 is a verdict, 130 is Ctrl-C


def require_writable(option: str, path: Path) -> None:
    """Try now, not after minutes of work, whether a file can be written; leave it as it is.

    Args:
        option: what the user called it, such as "--svg".
        path: the file; what is in it stays until the result is there.

    Raises:
        ConfigError: the file cannot be written.
    """
    with _told(option, path):
        there = os.path.lexists(path)
        path.open("ab").close()
        if not there:
            path.unlink()


def require_folder(option: str, path: Path) -> None:
    """Try now whether files can be written in a folder, or the folder be made; leave it as it is.

    Args:
        option: what the user called it, such as "--out".
        path: the folder; it need not exist.

    Raises:
        ConfigError: it cannot be made, or not be written to.
    """
    with _told(option, path):
        there = next(place for place in (path, *path.absolute().parents) if place.exists())
        TemporaryFile(dir=there).close()


def write_output(option: str, path: Path, write: Callable[[Path], object]) -> None:
    """Write a result to its file.

    Args:
        option: what the user called it, such as "--svg".
        path: the file; an existing one is replaced.
        write: writes to the path that it is given.

    Raises:
        ConfigError: the file cannot be written; the disk may have become full meanwhile.
    """
    with _told(option, path):
        write(path)


@contextmanager
def _told(option: str, path: Path) -> Iterator[None]:
    """Turn what the file system refuses into a `ConfigError`."""
    try:
        yield
    except (OSError, ValueError) as error:  # a ValueError: a path with a null byte
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{option} is {str(path)!r}, which cannot be written ({reason}): name a place "
            "that exists and that you may write to, on a disk with room"
        ) from None


@contextmanager
def exit_codes() -> Iterator[None]:
    """End the process as every verb does: 0, 1 for a verdict, 2 for bad input, 130 for Ctrl-C.

    What the caller got wrong, or the system refused, becomes `error: message` on stderr and code 2.
    A reader of stdout that went away ends the verb with code 2 and without a word.

    Raises:
        SystemExit: where there was an error.
    """
    try:
        try:
            yield
        except SystemExit as end:
            if type(sys.stdout).__name__ == "PacifyFlushWrapper":  # click met a closed pipe
                raise SystemExit(BAD_INPUT) from None
            _flush()
            raise end from None
        _flush()
    except BrokenPipeError:
        _abandon_stdout()
        raise SystemExit(BAD_INPUT) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except FairdraftError as error:
        _fail(str(error))
    except RecursionError:
        _fail("the input is nested too deeply to be read: flatten it")
    except MemoryError:
        _fail("there is not enough memory for this: ask for less, or use a smaller model")
    except OSError as error:
        place = f" {error.filename!r}" if error.filename else ""
        _fail(
            f"the system refused to read or write{place} ({error.strerror or error}): give another "
            "file, or make room"
        )


def _flush() -> None:
    """Flush stdout while an error can still be told; at the interpreter's exit it is too late."""
    sys.stdout.flush()


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    _abandon_stdout()
    raise SystemExit(BAD_INPUT) from None


def _abandon_stdout() -> None:
    """Send what stdout still holds nowhere, so that the interpreter's last flush does not fail."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
