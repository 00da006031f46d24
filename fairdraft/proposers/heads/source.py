"""Where a head comes from: files that the user names or fairdraft brings, or the target's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fairdraft.errors import CheckpointError, ConfigError
from fairdraft.heads import HeadFile, kind_of, load_head, read_head_file, shipped_head
from fairdraft.heads.mtp import load_mtp, read_mtp
from fairdraft.models import ModelRunner, speed_up
from fairdraft.proposers.drafting.drafter import Drafter, DrafterSource
from fairdraft.proposers.heads.recurrent import RecurrentDrafter
from fairdraft.proposers.options import DraftShape


class HeadSource(DrafterSource):
    """A head's files, read at once, so that wrong ones are told before the target is loaded.

    Args:
        kind: of head, and the method's name.
        model: hub id or folder; None takes the head that comes with fairdraft for the target.
        drafter_of: makes the drafter of a network, a target and a shape.

    Raises:
        CheckpointError: the files cannot be read, or are of another kind.
    """

    def __init__(
        self,
        kind: str,
        model: str | None,
        drafter_of: Callable[[Any, ModelRunner, DraftShape], Drafter],
    ) -> None:
        self.kind = kind
        self.drafter_of = drafter_of
        self.file = None if model is None else self._read(model)

    def _read(self, model: str) -> HeadFile:
        file = read_head_file(model)
        if (found := kind_of(file)) != self.kind:
            raise CheckpointError(
                f"{model!r} is a file for method {found!r}, not {self.kind!r}: name that method"
            )
        return file

    def drafter(self, target: ModelRunner, shape: DraftShape) -> Drafter:
        """Load the head in the target's precision."""
        if self.file is None:
            shipped = shipped_head(target.name, self.kind)
            if shipped is None:
                raise ConfigError(
                    f"method {self.kind!r} needs the key 'model', a drafter's folder or hub id: "
                    f"none comes with fairdraft for {target.name!r}; `fairdraft train` makes one"
                )
            self.file = self._read(shipped)
        head = _quick(load_head(self.file, target.model), target)
        return self.drafter_of(head, target, shape)


class MTPSource(DrafterSource):
    """The MTP layer that lies in the target's own checkpoint."""

    def drafter(self, target: ModelRunner, shape: DraftShape) -> Drafter:
        """Load the layer; what it keeps of a token is shaped as by the target's last layer."""
        file = read_mtp(target.name, target.model.config.get_text_config())
        head = _quick(load_mtp(file, target.model), target)
        return RecurrentDrafter(head, target, shape, [target.layers[-1]])


def recurrent_drafter(head: Any, target: ModelRunner, shape: DraftShape) -> Drafter:
    """Make the drafter of a head with layers of its own shape."""
    return RecurrentDrafter(head, target, shape, head.config.kv_layers)


def _quick(head: Any, target: ModelRunner) -> Any:
    """Give a head the products that are quick on the target's device."""
    if target.device.type == "cpu":
        speed_up(head)
    return head
