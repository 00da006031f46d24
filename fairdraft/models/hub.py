"""Fetch a model's files from the Hugging Face hub, or say in one sentence why that fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import logging as hub_logging
from huggingface_hub.utils.tqdm import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from fairdraft.errors import CheckpointError

CHECKPOINT_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
FIRST_ANSWER_SECONDS = 2.5  # a hub that has not answered by then is taken as unreachable

_logger = logging.getLogger(__name__)


def fetch(
    name: str, revision: str | None = None, patterns: Sequence[str] = CHECKPOINT_FILES
) -> Path:
    """Return the folder with a hub model's files, fetching what the hub's cache does not hold.

    Where the hub cannot be asked, a complete copy in the cache will do. A download that breaks goes
    on where it broke; files that are whole are not fetched again.

    Args:
        name: hub id, such as "org/model".
        revision: branch, tag or commit; None is the main branch.
        patterns: names of the files that are wanted, of the repository's top folder only.

    Raises:
        CheckpointError: there is no such model or revision, it is gated, a file that every model
            has is missing, or the hub cannot be reached.
    """
    wanted: dict[str, Any] = {
        "revision": revision,
        "allow_patterns": list(patterns),
        "ignore_patterns": ["*/*", "consolidated*.safetensors"],
    }
    try:
        with _quiet():
            info = HfApi().model_info(name, revision=revision, timeout=FIRST_ANSWER_SECONDS)
            _require_checkpoint(name, [each.rfilename for each in info.siblings or ()])
            _logger.info("Fetching %s from the hub", name)
            return Path(snapshot_download(name, **wanted))
    except CheckpointError:
        raise
    except Exception as error:  # the client passes on whatever the network does
        if not isinstance(error, RevisionNotFoundError | HFValidationError):
            cached = _cached(name, wanted)
            if cached is not None:
                _logger.info("%s comes from the cache: the hub did not answer", name)
                return cached
        raise CheckpointError(_reason(name, revision, error)) from error


def _cached(name: str, wanted: dict[str, Any]) -> Path | None:
    """The complete copy in the hub's cache, if there is one."""
    try:
        with _quiet():
            folder = Path(snapshot_download(name, local_files_only=True, **wanted))
    except Exception:  # not there, not whole, or not readable: all the same here
        return None
    return folder if (folder / "config.json").exists() else None


def _require_checkpoint(name: str, files: Sequence[str]) -> None:
    """Raise `CheckpointError` if a repository has no config.json."""
    if "config.json" in files:
        return
    if any(file.endswith(".gguf") for file in files):
        raise CheckpointError(
            f"{name!r} holds GGUF files and no config.json: download one of them with "
            f"`hf download {name} FILE.gguf` and give its path"
        )
    raise CheckpointError(
        f"{name!r} has no config.json on the hub, which holds {len(files)} files of it: give the "
        "id of a repository with a transformers model"
    )


def _reason(name: str, revision: str | None, error: Exception) -> str:
    """One sentence: what failed, and what to do about it."""
    hub = constants.ENDPOINT
    if isinstance(error, HFValidationError):
        return (
            f"{name!r} is neither a folder here nor a hub id: give a folder, an id such as "
            "'org/model', a GGUF file, or 'demo'"
        )
    if isinstance(error, GatedRepoError):
        return (
            f"{name!r} is gated: ask for access at {hub}/{name}, then log in with "
            "`hf auth login` or set HF_TOKEN"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{name!r} has no revision {revision!r}: give a branch, a tag or a commit of it"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{name!r} is neither a folder here nor a model on the hub {hub}: check the spelling, "
            "or log in with `hf auth login` if it is private"
        )
    if isinstance(error, OfflineModeIsEnabled):
        return (
            f"{name!r} is not whole in the hub's cache and HF_HUB_OFFLINE forbids fetching it: "
            "unset HF_HUB_OFFLINE, or give a folder"
        )
    if isinstance(error, HfHubHTTPError):
        return (
            f"{name!r} cannot be fetched: the hub {hub} answered {error.response.status_code} to "
            f"{error.response.url}; try again later, or give a folder"
        )
    first = (str(error).strip().splitlines() or [""])[0]
    return (
        f"{name!r} is neither a folder here nor whole in the hub's cache, and cannot be fetched "
        f"from {hub} ({type(error).__name__}: {first}): check the spelling, the network and the "
        "room on the disk, or give a folder"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the hub's client from writing bars and warnings: what matters is in the error."""
    verbosity, silent = hub_logging.get_verbosity(), are_progress_bars_disabled()
    hub_logging.set_verbosity(logging.ERROR)
    disable_progress_bars()
    try:
        yield
    finally:
        hub_logging.set_verbosity(verbosity)
        if not silent:
            enable_progress_bars()
