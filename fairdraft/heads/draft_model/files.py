"""Files of pruned draft models: the layers only; embedding and vocabulary are the target's rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig

from fairdraft.heads.draft_model.network import empty_model, target_ids
from fairdraft.heads.files import HeadFile, MadeFor, write_head_file
from fairdraft.heads.fitting import borrow_vocabulary, load_tensors, require_fit, require_tokens

KIND = "draft_model"


def is_pruned(name: str) -> bool:
    """Tell whether a folder holds a pruned model's files."""
    path = Path(name).expanduser() / "config.json"
    return path.is_file() and f'"{KIND}"' in path.read_text("utf-8", errors="replace")


def is_draft_model(file: HeadFile) -> bool:
    """Tell whether a file is a pruned draft model's; it always says so itself."""
    return bool(file.config.get("fairdraft_model_type") == KIND)


def save_pruned(model: Any, folder: Path, made_for: MadeFor) -> None:
    """Write the layers; embedding and vocabulary are the target's.

    Args:
        model: of `prune`, trained.
        folder: made if it is not there.
        made_for: the target.
    """
    document = model.config.to_dict() | {
        "fairdraft_model_type": KIND,
        "target": made_for.name,
        "draft_vocab_size": len(model.d2t),
    }
    for key in ("transformers_version", "_name_or_path"):
        document.pop(key, None)
    tensors = {n: t for n, t in model.state_dict().items() if n != "lm_head.weight"}
    write_head_file(folder, document, tensors)


def load_pruned(file: HeadFile, target: Any) -> Any:
    """Load a pruned draft model, with the target's embedding, in its precision, on its device.

    Args:
        file: of kind "draft_model".
        target: the transformers model.

    Raises:
        CheckpointError: the file does not fit the target, or its tensors do not fit its config.
    """
    text = target.config.get_text_config()
    require_fit(file, "hidden_size", file.config.get("hidden_size", 0), text.hidden_size)
    require_fit(file, "vocab_size", file.config.get("vocab_size", 0), text.vocab_size)
    foreign = ("fairdraft_model_type", "target", "draft_vocab_size", "architectures", "dtype")
    values = {key: value for key, value in file.config.items() if key not in foreign}
    words = int(file.config.get("draft_vocab_size", text.vocab_size))
    model = empty_model(AutoConfig.for_model(**values), words)
    tensors = dict(file.tensors)
    borrow_vocabulary(tensors, words, target)
    load_tensors(model, tensors, file.name, target)
    model.set_input_embeddings(target.get_input_embeddings())
    require_tokens(file, "d2t", target_ids(model), text)
    return model
