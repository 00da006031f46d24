"""Verification as published code has got it wrong: each must show a total variation above 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from fairdraft.draft import Draft
from fairdraft.proof.cases import HALF, STOPS, chain, likeliest, siblings, top_k
from fairdraft.proof.exact import (
    ONE,
    ZERO,
    CoupledScript,
    Law,
    Round,
    Script,
    Text,
    World,
    law_of,
    said,
    total_variation,
)
from fairdraft.verification import block, match, standard

AT_K = STOPS["at k"]


class Bent:
    """A script whose questions are bent on the way: what a mistaken verifier would ask."""

    def __init__(
        self,
        script: Script,
        accept: Callable[[int, Fraction], Fraction] = lambda _node, probability: probability,
        token: Callable[[int, Law], Law] = lambda _row, law: law,
    ) -> None:
        self.script = script
        self.bend_accept = accept
        self.bend_token = token

    def accept(self, node: int, probability: Fraction) -> bool:
        """Return the script's answer to the bent question."""
        return self.script.accept(node, self.bend_accept(node, probability))

    def token(self, row: int, law: Law) -> int:
        """Return the script's answer to the bent question."""
        return self.script.token(row, self.bend_token(row, law))


def soft_law_for_an_argmax(world: World, k: int, script: Script) -> Text:
    """An argmax draft is verified as if it had been drawn from q."""
    draft = chain(world, k, likeliest, AT_K)
    return said(standard(world.rows(draft), draft, script), draft)


def nothing_subtracted(world: World, k: int, script: Script) -> Text:
    """After a rejection the token comes from p, not from what is left of it."""
    draft = chain(world, k, script.token, AT_K)
    rows = world.rows(draft)
    bent = Bent(script, token=lambda row, _law: rows[row])
    return said(standard(rows, draft, bent), draft)


def accepted_with_p(world: World, k: int, script: Script) -> Text:
    """A drawn token is accepted with p(x), not with p(x)/q(x)."""
    draft = chain(world, k, script.token, AT_K)
    bent = Bent(script, lambda node, ratio: ratio * draft.probs[node][draft.token_ids[node]])
    return said(standard(world.rows(draft), draft, bent), draft)


def laws_one_row_late(world: World, k: int, script: Script) -> Text:
    """The drafter's laws are taken one row behind the tokens drawn from them."""
    drawn = chain(world, k, script.token, AT_K)
    laws = [world.drafter[drawn.token_ids[: i + 1]] for i in range(k)]
    draft = Draft(drawn.token_ids, probs=laws)
    return said(standard(world.rows(draft), draft, script), draft)


def unlikely_token_dropped(world: World, k: int, script: Script) -> Text:
    """A drawn token is dropped because it is unlikely: stopping that looks ahead."""
    text: Text = ()
    laws = []
    while len(text) < k:
        law = world.drafter[text]
        token = script.token(len(text), law)
        if law[token] < HALF:
            break
        text = (*text, token)
        laws.append(law)
    draft = Draft(text, probs=laws)
    return said(standard(world.rows(draft), draft, script), draft)


def cut_before_an_illegal_token(world: World, k: int, script: Script) -> Text:
    """A drawn draft ends before the first token that the target forbids."""
    draft = chain(world, k, script.token, AT_K)
    legal = 0
    while legal < k and world.rows(draft)[legal][draft.token_ids[legal]] > 0:
        legal += 1
    draft = draft.trimmed(legal)
    return said(standard(world.rows(draft), draft, script), draft)


def drafter_chosen_afterwards(world: World, k: int, script: Script) -> Text:
    """Two drafters draw, and the one whose draft looks better to itself is verified."""
    drawn = chain(world, k, script.token, AT_K)
    sure = drawn.probs[0][drawn.token_ids[0]] > HALF
    other = chain(World(world.target, world.target), k, script.token, AT_K)
    draft = drawn if sure else other
    return said(standard(world.rows(draft), draft, script), draft)


def block_stops_at_the_first_failure(world: World, k: int, script: Script) -> Text:
    """Block verification ends at the first draft token that fails, as the standard rule does."""
    draft = chain(world, k, script.token, AT_K)
    asked: list[Fraction] = []

    class Listener(Bent):
        def accept(self, node: int, probability: Fraction) -> bool:
            """Note every hᵢ and let none stand, so that all of them are asked."""
            asked.append(probability)
            return False

    # Only the probabilities are wanted; the verdict's token is not drawn.
    listener = Listener(script)
    listener.token = lambda row, law: 0  # type: ignore[method-assign]
    block(world.rows(draft), draft, listener)
    stands = 0
    for probability in reversed(asked):  # asked from the last token to the first
        if not script.accept(stands, probability):
            break
        stands += 1
    if stands == k:
        return (*draft.token_ids, script.token(k, world.rows(draft)[k]))
    weight = ONE
    for i in range(stands):
        token = draft.token_ids[i]
        weight = min(ONE, weight * world.rows(draft)[i][token] / draft.probs[i][token])
    left = weight * world.rows(draft)[stands] - draft.probs[stands]
    left = left * (left > 0)
    law = left if sum(left) > 0 else world.rows(draft)[stands]
    return (*draft.token_ids[:stands], script.token(stands, law))


class _PositionKeyed:
    """Draws whose noise is keyed by position: a second round meets that of the first again."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.start = 0
        self.drafted: dict[int, int] = {}
        self.spans: dict[int, tuple[Fraction, Fraction]] = {}

    def draft(self, position: int, q: Law) -> int:
        """Return the same draft token at a position every time; right where q is the same too."""
        if position not in self.drafted:
            self.drafted[position] = self.script.token(position, q)
        return self.drafted[position]

    def accept(self, node: int, probability: Fraction) -> bool:
        """u < probability, with one u a position, known by now to lie within a span."""
        position = self.start + node
        low, high = self.spans.get(position, (ZERO, ONE))
        edge = min(max(probability, low), high)
        stands = self.script.accept(node, (edge - low) / (high - low))
        self.spans[position] = (low, edge) if stands else (edge, high)
        return stands

    def token(self, row: int, law: Law) -> int:
        """Recovered and bonus tokens have noise of their own."""
        return self.script.token(row, law)


def block_noise_by_position(world: World, k: int, script: Script) -> Text:
    """Block verification with draft and accept noise keyed by position: used twice.

    For worlds whose laws are the same behind every text, so that a second round drafts the same.
    """
    noise = _PositionKeyed(script)
    text: Text = ()
    while len(text) <= k:
        noise.start = len(text)
        tokens = tuple(noise.draft(len(text) + i, world.drafter[()]) for i in range(k))
        draft = Draft(tokens, probs=[world.drafter[()]] * k)
        rows = [world.target[()]] * (k + 1)
        text = (*text, *said(block(rows, draft, noise), draft))
    return text[: k + 1]


def siblings_as_if_replaced(world: World, _k: int, script: Script) -> Text:
    """Siblings are drawn without replacement, but verified as if with it."""
    draft = siblings(world, script, replacement=False, honest=False)
    return said(standard(world.rows(draft), draft, script), draft)


def typical_acceptance(world: World, k: int, script: Script) -> Text:
    """Medusa's typical acceptance: whatever the target finds likely enough stands."""
    draft = chain(world, k, likeliest, AT_K)
    rows = world.rows(draft)
    stands = 0
    while stands < k and rows[stands][draft.token_ids[stands]] >= Fraction(3, 10):
        stands += 1
    return (*draft.token_ids[:stands], script.token(stands, rows[stands]))


def race_without_the_filter(world: World, k: int, script: Script) -> Text:
    """Gumbel coupling over the whole vocabulary, where the target keeps its top k only."""
    noise = CoupledScript(script)
    draft = chain(world, k, noise.draft, AT_K)
    rows = world.rows(draft)
    return said(match(draft, lambda row: noise.target(draft.depths[row], rows[row])), draft)


@dataclass(frozen=True)
class Mutant:
    """A mistaken verifier, and the world in which it shows.

    Args:
        name: what is wrong.
        play: the mistaken round.
        world: where it shows.
        depth: k.
        judged_by: the world whose target it should have had; None is the same.
    """

    name: str
    play: Round
    world: World
    depth: int
    judged_by: World | None = None

    def total_variation(self) -> Fraction:
        """Return the total variation between the output's law and the target's."""
        if self.judged_by is None:
            return total_variation(self.world, self.depth, self.play)
        # The round lives in its own world; what goes on behind it is the right target's.
        return total_variation(
            self.judged_by, self.depth, lambda _world, k, script: self.play(self.world, k, script)
        )


def mutants(depth: int = 2) -> list[Mutant]:
    """Return every mistake, each in a world where nothing hides it."""
    world = World.random(5, depth, zeros=False)
    filtered = world.filtered(top_k, lambda law: law)

    def same(p: Law, q: Law) -> World:
        return World.constant(p, q, depth)

    unlikely = same(law_of(9, 1, 0), law_of(6, 4, 0))
    illegal = same(law_of(8, 2, 0), law_of(1, 4, 5))
    later = same(law_of(8, 2, 0), law_of(6, 4, 0))
    twice = same(law_of(7, 3, 0), law_of(4, 6, 0))
    typical = same(law_of(5, 3, 2), law_of(1, 8, 1))
    return [
        Mutant("argmax draft against a soft q", soft_law_for_an_argmax, world, depth),
        Mutant("recovered token drawn from p itself", nothing_subtracted, world, depth),
        Mutant("accepted with p, not with p/q", accepted_with_p, world, depth),
        Mutant("drafter's laws one row late", laws_one_row_late, world, depth),
        Mutant("unlikely token dropped", unlikely_token_dropped, unlikely, depth),
        Mutant("cut before an illegal token", cut_before_an_illegal_token, illegal, depth),
        Mutant("drafter chosen after its draw", drafter_chosen_afterwards, later, depth),
        Mutant("block: stops at first failure", block_stops_at_the_first_failure, world, depth),
        Mutant("block: noise keyed by position", block_noise_by_position, twice, depth),
        Mutant("siblings as if replaced", siblings_as_if_replaced, world, depth),
        Mutant("typical acceptance", typical_acceptance, typical, depth),
        Mutant("race without the filter", race_without_the_filter, world, depth, filtered),
    ]
