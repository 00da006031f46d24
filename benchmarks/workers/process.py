"""Worker processes: a line of JSON in, a line of JSON out, one engine each."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.constants import ROOT


class WorkerProcess:
    """An engine in a process of its own; it computes only between a question and its answer.

    Args:
        python: of the environment that the engine is installed in.
        words: after it on the command line.
        environment: variables besides those of this process.
    """

    def __init__(
        self, python: Path | str, words: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = " ".join(words)
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        # Not resolve(): a virtual environment is known by the path of its own link.
        self.process = subprocess.Popen(
            [str(Path(python).absolute()), *words],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            start_new_session=True,  # a group of its own, to end child processes with it
        )

    def ask(self, question: Any) -> Any:
        """Send a question and return the answer to it."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> Any:
        """Return the next line.

        Raises:
            RuntimeError: the process ended; the message has the end of its log.
        """
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise RuntimeError(f"{self.name} died:\n{self.log.read()[-4000:]}")
        return json.loads(line)

    def stop(self) -> None:
        """End the process and what it started."""
        assert self.process.stdin
        self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=30)
        with contextlib.suppress(ProcessLookupError):  # gone already, as it should be
            os.killpg(self.process.pid, signal.SIGKILL)
        self.log.close()
