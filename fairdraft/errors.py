"""The exceptions that fairdraft raises on purpose.

Every message names the value, the limit and the remedy. The command line prints the message
and leaves with exit code 2; a library user catches `FairdraftError`.
"""

from __future__ import annotations

from typing import Any


class FairdraftError(Exception):
    """Base of every error that fairdraft raises on purpose."""


class ConfigError(FairdraftError, ValueError):
    """A value the caller chose is out of range; the message names it, the limit and the remedy."""


class CheckpointError(FairdraftError):
    """A model cannot be found, read or run; the message says which and why."""


class RequestError(FairdraftError, ValueError):
    """A request cannot be served as it stands: too long, empty, or larger than the KV pool."""


class EngineError(FairdraftError):
    """A step failed: the requests that were in it end with this, and the next one can be served."""


class ProposerError(EngineError):
    """A proposer raised, or drafted what is no draft; the message names it and what it did."""


class GenerationError(FairdraftError):
    """Some requests of a call ended with an error of their own.

    Attributes:
        outputs: one `RequestOutput` a prompt; those that ended well are whole.
    """

    def __init__(self, message: str, outputs: list[Any]) -> None:
        super().__init__(message)
        self.outputs = outputs


class IntegrityError(FairdraftError, AssertionError):
    """An invariant of the engine is broken: a bug here or in a proposer, never bad input."""


class TrainingError(FairdraftError):
    """Training cannot go on: its data do not fit, or what it makes cannot be written."""


class ReadingError(FairdraftError, ValueError):
    """A log, a metrics page or a result of another engine does not say what is asked of it."""


class RestartError(ReadingError):
    """A counter of a server went backwards: it was restarted between two scrapes."""


class ProcessError(FairdraftError):
    """An object is used in another process than the one that made it, or sent to one."""
