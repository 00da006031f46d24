"""Every kind of drafter that comes in files: how it is recognised, loaded and trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fairdraft.errors import CheckpointError, FairdraftError
from fairdraft.heads.dflash.files import is_dflash, load_dflash
from fairdraft.heads.dflash.loss import DFlashTraining
from fairdraft.heads.draft_model.files import is_draft_model, load_pruned
from fairdraft.heads.draft_model.loss import DraftModelTraining
from fairdraft.heads.eagle.files import is_eagle, load_eagle
from fairdraft.heads.eagle3.files import is_eagle3, load_eagle3
from fairdraft.heads.eagle3.loss import Eagle3Training
from fairdraft.heads.files import HeadFile
from fairdraft.heads.medusa.files import is_medusa, load_medusa
from fairdraft.heads.medusa.loss import MedusaTraining
from fairdraft.heads.mtp.files import load_mtp
from fairdraft.heads.training import HeadTraining


@dataclass(frozen=True)
class HeadKind:
    """A kind of drafter.

    Args:
        load: makes the network of a file, for a transformers model.
        recognises: tells whether a file that does not name its kind is of this one; None where the
            tensors lie in the target's own checkpoint, and no file is named.
        training: how it is trained; None where it cannot be trained here.
    """

    load: Callable[[HeadFile, Any], Any]
    recognises: Callable[[HeadFile], bool] | None
    training: type[HeadTraining] | None = None


# Files are recognised in this order: EAGLE's say least of themselves.
KINDS: dict[str, HeadKind] = {
    "eagle3": HeadKind(load_eagle3, is_eagle3, Eagle3Training),
    "dflash": HeadKind(load_dflash, is_dflash, DFlashTraining),
    "medusa": HeadKind(load_medusa, is_medusa, MedusaTraining),
    "draft_model": HeadKind(load_pruned, is_draft_model, DraftModelTraining),
    "eagle": HeadKind(load_eagle, is_eagle),
    "mtp": HeadKind(load_mtp, None),
}


def kind_of(file: HeadFile) -> str:
    """Return the kind of a drafter's file, which is the name of its method.

    Raises:
        CheckpointError: neither its config nor its tensors say.
    """
    declared = (file.config.get(f"{by}_model_type") for by in ("speculators", "fairdraft"))
    if name := next(filter(None, declared), None):
        return str(name)
    for name, kind in KINDS.items():
        if kind.recognises is not None and kind.recognises(file):
            return name
    raise CheckpointError(
        f"{file.name!r} is no drafter that is known here: its config.json names the "
        f"architecture {file.architectures or 'nothing'!r} and no speculators_model_type"
    )


def load_head(file: HeadFile, target: Any) -> Any:
    """Load a drafter's network in the target's precision, on its device, without gradients.

    Args:
        file: of `read_head_file`.
        target: the transformers model.

    Raises:
        CheckpointError: a kind that is not known, or a file that does not fit the target or itself.
    """
    name = kind_of(file)
    known = [each for each, kind in KINDS.items() if kind.recognises is not None]
    if name not in known:
        raise CheckpointError(
            f"{file.name!r} is for method {name!r}, which cannot be loaded: known are "
            f"{', '.join(known)}"
        )
    try:
        return KINDS[name].load(file, target)
    except FairdraftError:
        raise
    except Exception as error:  # whatever a value of another type in config.json leads to
        raise CheckpointError(
            f"{file.name!r} has a config.json that cannot be understood as one of method {name!r} "
            f"({type(error).__name__}: {error}): it is damaged, or of another kind"
        ) from error
