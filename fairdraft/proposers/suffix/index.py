"""Past text and where its n-grams lie: what suffix decoding looks its drafts up in.

A log of tokens, and for a few n-gram lengths a hash table with the newest place of each n-gram and,
per place, the one before it with the same hash. Appending a token costs the same whatever is
there already, a lookup follows a bounded number of places, and dropping the oldest texts costs
nothing: places before the log's tail are simply dead. 40 bytes a token of room.

Matches and counts are those of a suffix tree restricted to each n-gram's newest `MAX_PLACES`
places, and to longer n-grams where these have as many: what was said lately counts.
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
MAX_PLACES = 16  # followed per n-gram
MAX_FOLLOWED = 4 * MAX_PLACES  # those that turn out to be no match, or a text's end, included
# Columns of the log. What is read of a place lies side by side: far-off memory is what costs.
TOKEN, OWNER, BEFORE = 0, 1, 2
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
def _append(log, heads, start, first, last, salt):
    """Index tokens first … last − 1 of the text that begins at `start`."""
    mask = heads.shape[1] - 1
    tokens = log[:, TOKEN]
    for place in range(first, last):
        for level in range(len(LENGTHS)):
            length = LENGTHS[level]
            if place + 1 - start < length:
                log[place, BEFORE + level] = -1
                continue
            h = _hash(tokens, place + 1, length, salt, mask)
            log[place, BEFORE + level] = heads[level, h]
            heads[level, h] = place


@njit(cache=True)
def _places(log, heads, tail, size, context, owner_salts, salt, depth, found):
    """Places whose end matches the context's, longest matches first.

    Fills found [2, n] with places and match lengths; returns how many. A place counts only if a
    token of the same text follows it, and that text has the same salt.
    """
    mask = heads.shape[1] - 1
    most = min(depth, context.size)
    count = 0
    known = depth + 1  # matches at least this long are listed already
    for level in range(len(LENGTHS)):
        length = LENGTHS[level]
        if length > most:
            continue
        if count >= MAX_PLACES:  # enough that match longer
            break
        place = heads[level, _hash(context, context.size, length, salt, mask)]
        listed = followed = 0
        while place >= tail and listed < MAX_PLACES and followed < MAX_FOLLOWED:
            followed += 1
            owner = log[place, OWNER]
            if place + 1 < size and log[place + 1, OWNER] == owner and owner_salts[owner] == salt:
                match = 0
                while (
                    match < most
                    and place - match >= tail
                    and log[place - match, OWNER] == owner
                    and log[place - match, TOKEN] == context[context.size - 1 - match]
                ):
                    match += 1
                listed += match >= length
                if length <= match < known:
                    found[0, count], found[1, count] = place, match
                    count += 1
            place = log[place, BEFORE + level]
        known = length
    return count


@njit(cache=True)
def _grow(log, size, places, count, nodes, depth, least, branch, room, probability, drafts):
    """Grow a draft along the tokens that follow the places: its nodes and summed probability.

    A node's probability is the product of the shares of places that went its way. The likeliest
    node comes next, ties to the place listed first, until `nodes` are there or no other reaches
    `least`; without `branch` each node has one successor at most.

    Places wait for the node they would follow; the first of those that wait for the same one
    stands for it. `places` is used up, `room` and `probability` are scratch, `drafts` [2, nodes]
    gets tokens and parents.
    """
    waiting, share, parent, level, following, members = room
    num_members = count  # places behind the newest node
    for i in range(count):
        members[i] = i
        waiting[i] = -1
        following[i] = log[places[i] + 1, TOKEN]
    newest, likelihood, deep = -1, 1.0, 0
    length, score = 0, 0.0
    while True:
        widest = -1
        for a in range(num_members):
            i = first = members[a]
            for b in range(a):
                j = members[b]
                if waiting[j] == j and following[j] == following[i]:
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
        drafts[0, length], drafts[1, length] = following[best], parent[best]
        newest, likelihood, deep = length, probability[best], level[best]
        score += likelihood
        length += 1
        num_members = 0
        for i in range(count):
            if waiting[i] == best:
                waiting[i] = -1
                place = places[i] = places[i] + 1
                ends = place + 1 >= size or log[place + 1, OWNER] != log[place, OWNER]
                if deep < depth and not ends:
                    following[i] = log[place + 1, TOKEN]
                    members[num_members] = i
                    num_members += 1


@njit(cache=True)
def _best(
    log, heads, tail, size, context, owner_salts, salt, depth, budget, factor, least, branch, drafts
):
    """The best-scoring draft over all match lengths: (nodes, score, match length).

    Fills drafts [2, budget] with its tokens and parents.
    """
    found = np.empty((2, MAX_PLACES * len(LENGTHS)), np.int64)
    count = _places(log, heads, tail, size, context, owner_salts, salt, depth, found)
    best_length, best_score, best_match = 0, 0.0, 0
    if not count:
        return best_length, best_score, best_match
    room, probability = np.empty((6, count), np.int64), np.empty(count)
    places, tried = np.empty(count, np.int64), np.empty((2, budget), np.int64)
    match = depth + 1
    while True:
        shorter, num_places = 0, 0  # the longest match below the last one, and who has it
        for i in range(count):
            if shorter < found[1, i] < match:
                shorter = found[1, i]
        match = shorter
        deepest = min(budget, int(factor * match))
        # The nodes of a level add up to 1 at most: nothing better comes of fewer levels.
        if best_score >= deepest:
            return best_length, best_score, best_match
        for i in range(count):
            if found[1, i] >= match:
                places[num_places] = found[0, i]
                num_places += 1
        length, score = _grow(
            log, size, places, num_places, budget, deepest, least, branch, room, probability, tried
        )
        if score > best_score:  # longer matches come first and win ties
            best_length, best_score, best_match = length, score, match
            drafts[:, :length] = tried[:, :length]


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
    def largest_token(self) -> int:
        """The largest token id of all texts kept; −1 without any."""
        return int(self._log[self.tail : self.size, TOKEN].max(initial=-1))

    @property
    def num_bytes(self) -> int:
        """Memory held."""
        return int(self._log.nbytes + self._heads.nbytes + self._salts.nbytes)

    def _make_room(self, room: int) -> None:
        self._log = np.zeros((room, BEFORE + len(LENGTHS)), np.int32)
        self._heads = np.full((len(LENGTHS), room), -1, np.int32)
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
        if self.size + count > len(self._log):
            self._compact(count)
        start, salt = self.texts[-1]
        end = self.size + count
        self._log[self.size : end, TOKEN] = token_ids
        self._log[self.size : end, OWNER] = self._first_owner + len(self.texts) - 1
        first, self.size = self.size, end
        _append(self._log, self._heads, start, first, end, np.int64(salt))
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
            (self._log[start:end, TOKEN].copy(), salt)
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
        context: Sequence[int] | npt.NDArray[np.int32],
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
        drafts = np.empty((2, budget), np.int64)
        length, score, match = _best(
            self._log,
            self._heads,
            self.tail,
            self.size,
            np.asarray(context[-self.depth :], np.int32),
            self._salts,
            np.int64(salt),
            self.depth,
            budget,
            factor,
            least,
            branch,
            drafts,
        )
        if not length:
            return Guess(EMPTY_DRAFT, 0.0, 0)
        tokens, parents = drafts[:, :length].tolist()
        draft = Draft(tuple(tokens), tuple(parents) if branch else None)
        return Guess(draft, score, int(match))

    def save(self, path: str | Path) -> None:
        """Write the texts to a file that `load` reads (numpy's npz)."""
        starts = np.array([start for start, _ in self.texts], np.int64) - self.tail
        salts = np.array([salt for _, salt in self.texts], np.int64)
        tokens = self._log[self.tail : self.size, TOKEN]
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
