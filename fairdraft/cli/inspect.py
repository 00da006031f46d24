"""`fairdraft inspect`: what a drafter file is, what target it wants, what it would cost."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fairdraft.cli.options import Dtype, Model
from fairdraft.errors import CheckpointError

LOOKED_UP = ("embed_tokens.weight",)  # one row of it is read a token


def inspect(
    path: Annotated[str, typer.Argument(help="Hub id or folder of a drafter.")],
    target: Model = "demo",
    dtype: Dtype = "auto",
) -> None:
    """Say what a drafter file is, whether it fits a target, and its cost ratio c."""
    from fairdraft.models import load_checkpoint
    from fairdraft.models.heads import load_eagle3, load_medusa, read_head_file
    from fairdraft.models.heads.files import refuse_lossy

    file = read_head_file(path)
    kind = file.kind
    table = Table(show_header=False, box=None)
    table.add_row("file", path)
    table.add_row("method", kind)
    for label, value in _declared(file.config).items():
        table.add_row(label, str(value))
    loaders: dict[str, Any] = {"eagle3": load_eagle3, "medusa": load_medusa}
    if kind not in loaders:
        raise CheckpointError(
            f"{path!r} is for method {kind!r}, which cannot be loaded: known are "
            f"{', '.join(loaders)}"
        )
    refuse_lossy(file)
    model = load_checkpoint(target, dtype, "cpu").model
    head = loaders[kind](file, model)  # says what does not fit
    numbers = {n: p.numel() for n, p in head.named_parameters() if n not in LOOKED_UP}
    read, width = sum(numbers.values()), model.dtype.itemsize
    whole = sum(p.numel() for p in model.parameters())  # a tied head is read once, as here
    runs = getattr(head.config, "num_heads", 1)  # tokens that one reading of the head drafts
    table.add_row("fits", f"{target} ({model.config.model_type}, {whole / 1e6:.1f}M)")
    table.add_row("parameters read a draft", f"{read / 1e6:.2f}M, {read * width / 2**20:.1f} MiB")
    table.add_row("tokens a reading", str(runs))
    table.add_row("c by bytes", f"{read / runs / whole:.3f} of a target run a draft token")
    table.add_row("c by FLOPs", f"{_flops(numbers, runs) / (2 * whole):.3f}")
    Console().print(table)


def _declared(config: dict[str, Any]) -> dict[str, Any]:
    """What a config.json says of its target and its vocabulary."""
    verifier = (config.get("speculators_config") or {}).get("verifier") or {}
    found = {
        "made for": verifier.get("name_or_path") or config.get("base_model_name_or_path"),
        "draft vocabulary": config.get("draft_vocab_size") or config.get("truncated_vocab_size"),
        "hidden states read": config.get("eagle_aux_hidden_state_layer_ids"),
        "format": "speculators" if "speculators_model_type" in config else "raw",
    }
    return {label: value for label, value in found.items() if value is not None}


def _flops(numbers: dict[str, int], runs: int) -> float:
    """Multiplications and additions a draft token: a shared vocabulary matrix counts each time."""
    vocabulary = sum(n for name, n in numbers.items() if name == "lm_head.weight")
    return 2 * ((sum(numbers.values()) - vocabulary) / runs + vocabulary)
