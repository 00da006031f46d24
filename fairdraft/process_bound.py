"""Objects that live in the process that made them, and say so when a fork or pickle moves them."""

from __future__ import annotations

import os
from typing import Any, NoReturn, Self

from fairdraft.errors import ProcessError


class ProcessBound:
    """A base for objects with threads and memory that neither a fork nor pickling takes along.

    After a fork the child has the parent's objects, but not the threads that compute for them: a
    call would wait for ever. Methods that compute therefore begin with `require_own_process`.
    """

    _process_id: int

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Remember the process."""
        made = super().__new__(cls)
        made._process_id = os.getpid()
        return made

    def require_own_process(self) -> None:
        """Raise `ProcessError` unless this is the process that made the object."""
        here = os.getpid()
        if here != self._process_id:
            raise ProcessError(
                f"this {type(self).__name__} was made in process {self._process_id} and is used in "
                f"process {here}: its threads do not survive a fork. Make it after the fork, in "
                "the process that uses it, or start processes with multiprocessing's 'spawn'"
            )

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied.

        Raises:
            ProcessError: always.
        """
        name = type(self).__name__
        raise ProcessError(
            f"{name} cannot be pickled or copied: it holds a model, KV and threads. Send the name "
            f"of the model and make the {name} where it is used"
        )
