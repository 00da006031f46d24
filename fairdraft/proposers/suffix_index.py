"""Past text and where its n-grams lie: what suffix decoding looks its drafts up in.

A log of tokens, and for a few n-gram lengths a hash table with the newest place of each n-gram and,
per place, the one before it with the same hash. Appending a token costs the same whatever is
there already, a lookup follows a bounded number of places, and dropping the oldest texts costs
nothing: places before the log's tail are simply dead. 40 bytes a token of room.

Matches and counts are those of a suffix tree restricted to each n-gram's newest `MAX_PLACES`
places: what was said lately counts, what was said long ago gives way.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,misc"

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from fairdraft.draft import EMPTY_DRAFT, Draft

LENGTHS = (8, 4, 2, 1)  # of the n-grams, longest first
MAX_PLACES = 32  # followed per n-gram
_FIRST_ROOM = 256


@njit(cache=True)
def _hash(tokens, end, length, salt, mask):
    """FNV-1a over the `length` tokens before `end`, and the salt."""
    h = np.uint64(14695981039346656037) ^ np.uint64(salt)
    for i in range(end - length, end):
        h = (h ^ np.uint64(tokens[i])) * np.uint64(1099511628211)
    h ^= h >> np.uint64(29)
    h *= np.uint64(0xBF58476D1CE4E5B9)
    return np.int64((h ^ (h >> np.uint64(32))) & np.uint64(mask))


@njit(cache=True)
def _append(tokens, heads, before, start, first, last, salt):
    """Index tokens first … last − 1 of the text that begins at `start`."""
    mask = heads.shape[1] - 1
    for place in range(first, last):
        for level in range(len(LENGTHS)):
            length = LENGTHS[level]
            if place + 1 - start < length:
                before[level, place] = -1
                continue
            h = _hash(tokens, place + 1, length, salt, mask)
            before[level, place] = heads[level, h]
            heads[level, h] = place


@njit(cache=True)
def _places(tokens, owners, heads, before, tail, size, context, owner_salts, salt, depth, found):
    """Places whose end matches the context's, longest matches first.

    Fills found [2, n] with places and match lengths; returns how many. A place counts only if a
    token of the same text follows it, and that text has the same salt.
    """
    mask = heads.shape[1] - 1
    count = 0
    known = depth + 1  # matches at least this long are listed already
    for level in range(len(LENGTHS)):
        length = LENGTHS[level]
        if length > context.size or length > depth:
            continue
        place = heads[level, _hash(context, context.size, length, salt, mask)]
        listed = 0
        while place >= tail and listed < MAX_PLACES and count < found.shape[1]:
            owner = owners[place]
            if place + 1 < size and owners[place + 1] == owner and owner_salts[owner] == salt:
                match, most = 0, min(depth, context.size)
                while (
                    match < most
                    and place - match >= tail
                    and owners[place - match] == owner
                    and tokens[place - match] == context[context.size - 1 - match]
                ):
                    match += 1
                listed += match >= length
                if length <= match < known:
                    found[0, count], found[1, count] = place, match
                    count += 1
            place = before[level, place]
        known = length
    return count


@njit(cache=True)
def _grow(tokens, owners, size, places, nodes, depth, least, branch, out, parents):
    """Grow a draft along the tokens that follow the places: its nodes and summed probability.

    A node's probability is the product of the shares of places that went its way. The likeliest
    node comes next, ties to the place listed first, until `nodes` are there or no other reaches
    `least`; without `branch` each node has one successor at most. `places` is used up.
    """
    count = places.size
    waiting = np.empty(count, np.int64)  # the first of the places that wait for the same node
    share = np.zeros(count, np.int64)  # of such a first place: how many wait with it
    probability = np.zeros(count)  # of such a first place: its node's, as are the next two
    parent, level = np.zeros(count, np.int64), np.zeros(count, np.int64)
    members, num_members = np.arange(count), count  # places behind the newest node
    newest, likelihood, deep = -1, 1.0, 0
    length, score = 0, 0.0
    while True:
        widest = -1
        for a in range(num_members):
            i = first = members[a]
            for b in range(a):
                j = members[b]
                if waiting[j] == j and tokens[places[j] + 1] == tokens[places[i] + 1]:
                    first = j
                    break
            waiting[i] = first
            share[first] = 1 if first == i else share[first] + 1
        for a in range(num_members):
            i = members[a]
            if waiting[i] == i:
                probability[i] = likelihood * share[i] / num_members
                parent[i], level[i] = newest, deep + 1
                if widest < 0 or share[i] > share[widest]:
                    widest = i
        best = -1
        for i in range(count):
            if waiting[i] == i and probability[i] >= least:
                alone = branch or i == widest
                if alone and (best < 0 or probability[i] > probability[best]):
                    best = i
        if best < 0 or length == nodes:
            return length, score
        out[length], parents[length] = tokens[places[best] + 1], parent[best]
        newest, likelihood, deep = length, probability[best], level[best]
        score += likelihood
        length += 1
        num_members = 0
        for i in range(count):
            if waiting[i] == best:
                waiting[i] = -1
                place = places[i] = places[i] + 1
                if deep < depth and place + 1 < size and owners[place + 1] == owners[place]:
                    members[num_members] = i
                    num_members += 1


@njit(cache=True)
def _best(tokens, owners, size, found, count, budget, factor, least, branch, out, parents):
    """The best-scoring draft over all match lengths: (nodes, score, match length)."""
    best_length, best_score, best_match = 0, 0.0, 0
    draft, before = np.empty(budget, np.int64), np.empty(budget, np.int64)
    for match in np.unique(found[1, :count])[::-1]:
        places = found[0, :count][found[1, :count] >= match]
        depth = min(budget, int(factor * match))
        length, score = 0, 0.0
        if depth:
            length, score = _grow(
                tokens, owners, size, places, budget, depth, least, branch, draft, before
            )
        if score > best_score:  # longer matches come first and win ties
            best_length, best_score, best_match = length, score, match
            out[:length], parents[:length] = draft[:length], before[:length]
    return best_length, best_score, best_match


class Guess(NamedTuple):
    """What an index would draft.

    Args:
        draft: may be empty.
        score: summed probabilities of its tokens, each the product along the path.
        match: how many tokens of the context were found.
    """

    draft: Draft
    score: float
    match: int


class SuffixIndex:
    """A bounded log of texts with a lookup by the longest suffix.

    Args:
        depth: longest suffix that is looked for.
        max_texts: texts kept; the oldest goes first.
        max_tokens: tokens kept, likewise. The newest text is kept whatever its length.
    """

    def __init__(self, depth: int, max_texts: int = 1, max_tokens: int = 1 << 30) -> None:
        self.depth = depth
        self.max_texts = max_texts
        self.max_tokens = max_tokens
        self.texts: deque[tuple[int, int]] = deque()  # (start, salt), oldest first
        self.size = 0
        self._first_owner = 0
        self._make_room(_FIRST_ROOM)

    @property
    def tail(self) -> int:
        """Where the oldest text begins."""
        return self.texts[0][0] if self.texts else self.size

    @property
    def num_tokens(self) -> int:
        """Tokens of all texts kept."""
        return self.size - self.tail

    @property
    def num_bytes(self) -> int:
        """Memory held."""
        return int(
            self._tokens.nbytes + self._owners.nbytes + self._heads.nbytes + self._before.nbytes
        )

    def _make_room(self, room: int) -> None:
        self._tokens = np.zeros(room, np.int32)
        self._owners = np.zeros(room, np.int32)
        self._heads = np.full((len(LENGTHS), room), -1, np.int32)
        self._before = np.full((len(LENGTHS), room), -1, np.int32)
        self._salts = np.zeros(1, np.int64)

    def begin(self, salt: int = 0) -> None:
        """Begin a text; texts of different salts never see each other."""
        self.texts.append((self.size, salt))
        self._drop_oldest()
        owner = self._first_owner + len(self.texts) - 1
        if owner >= len(self._salts):
            self._salts = np.concatenate([self._salts, np.zeros_like(self._salts)])
        self._salts[owner] = salt

    def extend(self, token_ids: Sequence[int]) -> None:
        """Add tokens to the text that was begun last."""
        count = len(token_ids)
        if self.size + count > len(self._tokens):
            self._compact(count)
        start, salt = self.texts[-1]
        end = self.size + count
        self._tokens[self.size : end] = token_ids
        self._owners[self.size : end] = self._first_owner + len(self.texts) - 1
        first, self.size = self.size, end
        _append(self._tokens, self._heads, self._before, start, first, end, np.int64(salt))
        self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Forget texts beyond the limits; what they leave is dead at once, freed when compacted."""
        while len(self.texts) > self.max_texts or (
            len(self.texts) > 1 and self.num_tokens > self.max_tokens
        ):
            self.texts.popleft()
            self._first_owner += 1

    def _compact(self, count: int) -> None:
        """Move what lives to the front of arrays with room for `count` more; amortised O(1)."""
        texts = list(self.texts)
        ends = [start for start, _ in texts[1:]] + [self.size]
        kept = [
            (self._tokens[start:end].copy(), salt)
            for (start, salt), end in zip(texts, ends, strict=True)
        ]
        room = _FIRST_ROOM
        while room < 2 * self.num_tokens + count:
            room *= 2
        self.texts.clear()
        self.size = self._first_owner = 0
        self._make_room(room)
        for tokens, salt in kept:
            self.begin(salt)
            self.extend(tokens)  # type: ignore[arg-type]

    def guess(
        self,
        context: Sequence[int],
        budget: int,
        factor: float = 1.0,
        least: float = 0.1,
        salt: int = 0,
        branch: bool = False,
    ) -> Guess:
        """The draft behind a context.

        Args:
            context: its last `depth` tokens are looked at.
            budget: tokens at most; of a tree, its nodes.
            factor: tokens at most per token matched; of a tree, along each path.
            least: a draft ends before its probability falls under this.
            salt: only texts begun with it are seen.
            branch: draft a tree where the places found disagree.
        """
        tail = np.array(context[-self.depth :], np.int32)
        found = np.empty((2, MAX_PLACES * len(LENGTHS)), np.int64)
        count = _places(
            self._tokens,
            self._owners,
            self._heads,
            self._before,
            self.tail,
            self.size,
            tail,
            self._salts,
            np.int64(salt),
            self.depth,
            found,
        )
        if not count:
            return Guess(EMPTY_DRAFT, 0.0, 0)
        out, parents = np.empty((2, budget), np.int64)
        length, score, match = _best(
            self._tokens,
            self._owners,
            self.size,
            found,
            count,
            budget,
            factor,
            least,
            branch,
            out,
            parents,
        )
        nodes = tuple(out[:length].tolist())
        draft = Draft(nodes, tuple(parents[:length].tolist()) if branch else None)
        return Guess(draft, score, int(match))

    def save(self, path: str | Path) -> None:
        """Write the texts to a file that `load` reads (numpy's npz)."""
        starts = np.array([start for start, _ in self.texts], np.int64) - self.tail
        salts = np.array([salt for _, salt in self.texts], np.int64)
        tokens = self._tokens[self.tail : self.size]
        with open(path, "wb") as file:
            np.savez_compressed(file, tokens=tokens, starts=starts, salts=salts)

    def load(self, path: str | Path) -> None:
        """Add the texts of a file that `save` wrote.

        Raises:
            ValueError, OSError, KeyError: it is no such file.
        """
        with np.load(path, allow_pickle=False) as file:
            tokens: npt.NDArray[Any] = file["tokens"]
            starts, salts = file["starts"].tolist(), file["salts"].tolist()
        for start, end, salt in zip(starts, [*starts[1:], len(tokens)], salts, strict=True):
            self.begin(salt)
            self.extend(tokens[start:end])  # type: ignore[arg-type]
