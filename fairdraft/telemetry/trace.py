"""A step trace as JSON lines: what ran, what was drafted, what stood, what it cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from fairdraft.errors import ConfigError


class StepTrace:
    """Writes one JSON object a step to a file.

    Each line holds `step`, the seconds of the five verbs, and for every request in the step its
    id, the rows it ran, what was drafted, how much stood and which tokens came out.

    Args:
        path: file to write; an existing one is replaced.

    Raises:
        ConfigError: the file cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        with self._told():
            self._file: TextIO = Path(path).open("w", encoding="utf-8")  # noqa: SIM115

    def write(self, record: dict[str, Any]) -> None:
        """Append the record of one step."""
        with self._told():
            self._file.write(json.dumps(record) + "\n")

    def close(self) -> None:
        """Flush and close the file."""
        with self._told():
            self._file.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(
                f"the trace file {self._path!r} cannot be written ({error.strerror}): "
                "name a file in an existing folder that you may write to"
            ) from None

    def __enter__(self) -> StepTrace:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
