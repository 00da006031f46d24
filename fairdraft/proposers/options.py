"""The keys of drafting with a model, and the shape of drafts that follows from them."""

from __future__ import annotations

from dataclasses import dataclass, fields

from fairdraft.config import require, require_int, require_number

SAMPLE_METHODS = ("greedy", "probabilistic")


@dataclass(frozen=True)
class DraftShape:
    """How long and how wide drafts are at most.

    Args:
        num_tokens: draft length k; of a tree, its nodes.
        width: candidates that run a level of a tree, and alternatives behind each; 1 is a chain.
        depth: levels of a tree; of a chain, its tokens.
    """

    num_tokens: int
    width: int
    depth: int

    @property
    def is_tree(self) -> bool:
        """Whether drafts branch."""
        return self.width > 1

    @property
    def most_run(self) -> int:
        """Nodes of a draft that run at most: the last token, or level, never does."""
        return self.width * (self.depth - 1)


@dataclass(frozen=True)
class DraftOptions:
    """Keys of `speculative_config` that every method with a drafter takes.

    Args:
        draft_sample_method: "greedy" chooses the likeliest token; "probabilistic" draws from the
            drafter's law under the request's own temperature and filters. Greedy requests get
            chosen drafts either way.
        draft_confidence_threshold: a draft ends before a token whose likeliest candidate has less
            than this probability under the drafter; a tree takes no node whose path has less. 0 is
            off.
        draft_tree_top_k: above 1, drafts are trees: so many candidates run a level, each with so
            many alternatives behind it, and the num_speculative_tokens likeliest are drafted.
        draft_tree_depth: levels of a tree; None takes half of num_speculative_tokens, rounded up.

    Raises:
        ConfigError: a value out of range, trees that should be drawn, or a depth without trees.
    """

    draft_sample_method: str = "greedy"
    draft_confidence_threshold: float = 0.0
    draft_tree_top_k: int = 1
    draft_tree_depth: int | None = None

    def __post_init__(self) -> None:
        require(
            self.draft_sample_method in SAMPLE_METHODS,
            f"draft_sample_method is {self.draft_sample_method!r}, but must be one of "
            f"{', '.join(SAMPLE_METHODS)}",
        )
        require_number(
            "draft_confidence_threshold",
            self.draft_confidence_threshold,
            0,
            1,
            "0 never stops early",
        )
        require_int("draft_tree_top_k", self.draft_tree_top_k, 1, "1 drafts chains")
        trees = self.draft_tree_top_k > 1
        if self.draft_tree_depth is not None:
            require_int(
                "draft_tree_depth", self.draft_tree_depth, 1, "leave it out for the default"
            )
            require(
                trees,
                f"draft_tree_depth is {self.draft_tree_depth}, but without draft_tree_top_k drafts "
                "are chains: set draft_tree_top_k to at least 2, or leave draft_tree_depth out",
            )
        require(
            not trees or not self.probabilistic,
            f"draft_tree_top_k is {self.draft_tree_top_k}, but trees are chosen, not drawn: set "
            "draft_sample_method to 'greedy', or draft_tree_top_k to 1",
        )

    @property
    def probabilistic(self) -> bool:
        """Whether draft tokens are drawn from the drafter's law."""
        return self.draft_sample_method == "probabilistic"

    def shape(self, num_speculative_tokens: int) -> DraftShape:
        """Return the shape of drafts of so many tokens."""
        k, width = num_speculative_tokens, self.draft_tree_top_k
        depth = (self.draft_tree_depth or (k + 1) // 2) if width > 1 else k
        return DraftShape(k, width, depth)


DRAFT_KEYS = tuple(field.name for field in fields(DraftOptions))
