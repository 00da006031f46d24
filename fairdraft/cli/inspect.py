"""`fairdraft inspect`: what a drafter file is, what target it wants, what it would cost."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fairdraft.cli.options import Dtype, Model, OldTarget, loading, refuse_old_target
from fairdraft.config import DTYPES, require


def inspect(
    path: Annotated[
        str, typer.Argument(help="Hub id or folder of a drafter, or the --out of `train`.")
    ],
    model: Model = "demo",
    target: OldTarget = None,
    dtype: Dtype = "auto",
) -> None:
    """Say what a drafter file is, whether it fits a target, and its cost ratio c."""
    refuse_old_target(target)
    require(dtype in DTYPES, f"dtype is {dtype!r}, but must be one of {', '.join(DTYPES)}")
    from fairdraft.heads import head_cost, kind_of, load_head, read_head_file
    from fairdraft.heads.medusa import count_heads
    from fairdraft.models import load_checkpoint

    file = read_head_file(path)
    kind = kind_of(file)
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("file", Text(path))
    table.add_row("method", Text(kind))
    for label, value in _declared(file.config).items():
        table.add_row(label, Text(str(value)))
    with loading(model):
        target_model = load_checkpoint(model, dtype, "cpu").model
        head = load_head(file, target_model)  # says what does not fit, or is lossy
    cost = head_cost(head, target_model)
    size = cost.parameters * target_model.dtype.itemsize / 2**20
    if kind == "medusa":
        table.add_row("heads", _heads(*count_heads(file)))
    table.add_row("fits", Text(_fits(file.config, model, target_model)))
    table.add_row("read by one pass", f"{cost.parameters / 1e6:.2f}M parameters, {size:.1f} MiB")
    table.add_row("tokens a pass", str(cost.tokens))
    table.add_row("c by bytes", f"{cost.by_bytes:.3f} of a target run a draft token")
    table.add_row("c by FLOPs", f"{cost.by_flops:.3f}")
    Console().print(table)


def _fits(config: dict[str, Any], model: str, target_model: Any) -> str:
    """Return whether a head whose shapes fit was made for a network like the target's."""
    verifier = (config.get("speculators_config") or {}).get("verifier") or {}
    wanted = verifier.get("architectures") or []
    own = target_model.config.architectures or [type(target_model).__name__]
    if wanted and not set(wanted) & set(own):
        return (
            f"no: its shapes do, but it was made for a {', '.join(map(str, wanted))}, and {model} "
            f"is a {', '.join(own)}: it would draft what another model says"
        )
    return f"{model} ({target_model.config.model_type})"


def _heads(counted: int, declared: int | None) -> str:
    if declared in (None, counted):
        return str(counted)
    return f"{counted} by its tensors, which count; {declared} by its config.json"


def _declared(config: dict[str, Any]) -> dict[str, Any]:
    """Return what a drafter's config.json says of its target and its vocabulary."""
    verifier = (config.get("speculators_config") or {}).get("verifier") or {}
    found = {
        "made for": verifier.get("name_or_path")
        or config.get("base_model_name_or_path")
        or config.get("target"),
        "draft vocabulary": config.get("draft_vocab_size") or config.get("truncated_vocab_size"),
        "hidden states read": config.get("eagle_aux_hidden_state_layer_ids")
        or config.get("aux_hidden_state_layer_ids"),
        "block": config.get("block_size"),
        "format": next(
            (by for by in ("speculators", "fairdraft") if f"{by}_model_type" in config), "raw"
        ),
    }
    return {label: value for label, value in found.items() if value is not None}
