"""Text as it comes: whole characters only, and nothing behind or of a stop string."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from fairdraft import SamplingParams
from fairdraft.engine.detokenizer import Detokenizer
from fairdraft.errors import CheckpointError
from fairdraft.request import Request

untimed = settings(deadline=None)
EOS = 0
CORPUS = ["abab abba aab the end END. naïve 日本語 日本 🙂🙃 über", "stop stops stopper"] * 4


def byte_level_tokenizer() -> Tokenizer:
    """All 256 bytes and some merges, a few of which end in the middle of a character."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=310,
        special_tokens=["<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


TOKENIZER = byte_level_tokenizer()
VOCAB_SIZE = TOKENIZER.get_vocab_size()


def encode(text: str) -> list[int]:
    ids: list[int] = TOKENIZER.encode(text).ids
    return ids


def by_letter(text: str) -> list[int]:
    """A token per byte, whatever merges there are."""
    pieces = TOKENIZER.pre_tokenizer.pre_tokenize_str(text)
    return [TOKENIZER.token_to_id(letter) for piece, _ in pieces for letter in piece]


def decode(token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
    return str(TOKENIZER.decode(list(token_ids), skip_special_tokens=skip_special_tokens))


class Stream:
    """A request that gains tokens step by step, as the engine hands them over."""

    def __init__(self, tokenizer: Tokenizer = TOKENIZER, **params: Any) -> None:
        self.params = SamplingParams(**{"max_tokens": None, **params})
        self.request = Request("r", (5, 6), self.params, eos_token_ids=frozenset({EOS}))
        backend = SimpleNamespace(backend_tokenizer=tokenizer)
        self.detokenizer = Detokenizer(backend, self.params)
        self.shown: list[str] = []
        self.gained: list[int] = []

    def step(self, token_ids: Sequence[int]) -> str:
        cut = self.request.cut(token_ids, 10**6)
        text, cut = self.detokenizer.add(self.request, cut)
        self.request.append(cut)
        self.shown.append(text)
        self.gained += cut.token_ids
        return self.shown[-1]

    def play(self, token_ids: Sequence[int], sizes: Sequence[int] = ()) -> "Stream":
        """Steps of the given sizes, then of one token each, until an end."""
        rest, sizes = list(token_ids), list(sizes)
        while rest and self.request.finish_reason is None:
            size = sizes.pop(0) if sizes else 1
            self.step(rest[:size])
            rest = rest[size:]
        return self

    @property
    def text(self) -> str:
        return "".join(self.shown)


sizes = st.lists(st.integers(1, 6), max_size=12)
# U+FFFD is what an unfinished character decodes to; it is looked at on its own below.
letters = st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd")
words = st.text(st.sampled_from("ab 日🙂ï"), max_size=12) | st.text(letters, max_size=12)


# --- streaming


@untimed
@given(text=words, sizes=sizes)
def test_the_pieces_are_the_whole(text: str, sizes: list[int]) -> None:
    stream = Stream().play(encode(text), sizes)
    assert stream.text == decode(encode(text)) == text
    assert stream.detokenizer.text == text


@untimed
@given(text=words, sizes=sizes, stop=st.lists(st.text("ab日", min_size=1, max_size=5), max_size=2))
def test_nothing_stays_back_at_the_end(text: str, sizes: list[int], stop: list[str]) -> None:
    """EOS ends the text; what was held back for the sake of stop strings is shown."""
    if not any(word in text for word in stop):
        stream = Stream(stop=stop).play([*encode(text), EOS], sizes)
        assert stream.request.finish_reason == "stop"
        assert stream.text == text


def test_half_a_character_is_not_shown() -> None:
    token_ids = by_letter("é🙂")
    stream = Stream()
    assert [stream.step([token]) for token in token_ids] == ["", "é", "", "", "", "🙂"]


@untimed
@given(
    token_ids=st.lists(st.integers(1, VOCAB_SIZE - 1), min_size=1, max_size=12),
    sizes=sizes,
)
def test_any_bytes_at_all_stream_as_they_decode(token_ids: list[int], sizes: list[int]) -> None:
    """Sampled tokens need not be UTF-8. A plain letter at the end closes what hangs open."""
    token_ids = [*token_ids, *encode("x")]
    assert Stream().play(token_ids, sizes).text == decode(token_ids)


def test_an_output_cut_within_a_character_keeps_the_text_before_it() -> None:
    token_ids = [*encode("ok"), *encode("naïve")]
    assert decode(token_ids[:-1]) == "okna\ufffd"  # the last token but one ends within the ï
    assert Stream(max_tokens=len(token_ids) - 1).play(token_ids).text.startswith("okna")


def test_a_replacement_character_at_the_end_is_text_as_any() -> None:
    assert Stream().play([*encode("a\ufffd"), EOS]).text == "a\ufffd"


def test_a_broken_character_behind_a_byte_token_does_not_end_the_engine() -> None:
    """As in Llama 2, Mistral and Gemma: a newline is a byte token, and bytes decode in runs."""
    vocab = {f"<0x{byte:02X}>": byte for byte in range(256)} | {"<unk>": 256, "a": 257}
    tokenizer = Tokenizer(models.BPE(vocab, [], byte_fallback=True, unk_token="<unk>"))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    smile = "🙂".encode()
    assert Stream(tokenizer).play([10, *smile, 257]).text == "\n🙂a"
    stream = Stream(tokenizer).play([10, smile[0], 257, 257])
    assert stream.text.endswith("aa")


def test_special_tokens() -> None:
    token_ids = [*encode("ab"), EOS]
    assert Stream().play(token_ids).text == "ab"
    assert Stream(skip_special_tokens=False).play(token_ids).text == "ab<eos>"


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"SimpleNamespace .*tokenizer\.json"):
        Detokenizer(SimpleNamespace(), SamplingParams())


# --- stop strings


@untimed
@given(
    token_ids=st.lists(
        st.sampled_from(
            sorted({t for text in CORPUS for t in encode(text)} | set(by_letter("ab")))
        ),
        max_size=24,
    ),
    stop=st.lists(st.text("ab ", min_size=1, max_size=4), min_size=1, max_size=3),
    sizes=sizes,
    keep=st.booleans(),
    min_tokens=st.sampled_from([0, 0, 1, 5]),
)
def test_stop_strings_agree_with_a_search_token_by_token(
    token_ids: list[int], stop: list[str], sizes: list[int], keep: bool, min_tokens: int
) -> None:
    """However many tokens a step brings, the text ends at the same place with the same tokens."""
    text, expected, ending = "", None, len(token_ids)
    for count in range(1, len(token_ids) + 1):
        before, text = text, decode(token_ids[:count])
        if text.endswith("\ufffd"):
            text = before  # a character is still under way
        # A stop string counts when its last letter is new.
        ends = [
            (place, word)
            for word in stop
            for place in range(len(text))
            if text.startswith(word, place) and place + len(word) > len(before)
        ]
        if ends and count >= min_tokens:
            place, word = min(ends)
            expected, ending = word, count
            text = text[:place] + (word if keep else "")
            break

    stream = Stream(stop=stop, include_stop_str_in_output=keep, min_tokens=min_tokens)
    so_far = ""
    stream.play(token_ids, sizes)
    assert stream.detokenizer.text == text
    for piece in stream.shown:
        so_far += piece
        assert text.startswith(so_far)  # nothing shown is ever taken back
    assert stream.request.stop_reason == expected
    assert stream.request.output_token_ids == token_ids[:ending]
    assert stream.gained == token_ids[:ending]
    if expected is not None:
        assert stream.request.finish_reason == "stop"
        assert so_far == text
    else:
        assert len(so_far) >= len(text) - max(map(len, stop)) + 1


def test_a_stop_string_over_several_tokens() -> None:
    stream = Stream(stop=["END"])
    shown = [stream.step([token]) for token in by_letter("ok END more")[:6]]
    assert shown == ["", "", "o", "k", " ", ""]
    assert (stream.request.finish_reason, stream.request.stop_reason) == ("stop", "END")
    assert stream.text == "ok "


def test_a_stop_string_in_the_middle_of_a_step() -> None:
    stream = Stream(stop="END")
    assert stream.step(by_letter("ok")) == ""
    assert stream.step(by_letter(" END of all")) == "ok "
    assert stream.gained == by_letter("ok END")
    assert decode(stream.request.output_token_ids) == "ok END"


def test_a_stop_string_within_one_token() -> None:
    (token,) = encode("stop")
    stream = Stream(stop="to").play([*encode("x"), token, *encode("y")])
    assert stream.text == "xs"
    assert stream.request.num_output_tokens == 2


def test_the_stop_string_can_stay_in_the_text() -> None:
    token_ids = by_letter("ok END more")
    assert Stream(stop="END").play(token_ids).text == "ok "
    assert Stream(stop="END", include_stop_str_in_output=True).play(token_ids).text == "ok END"


def test_of_two_stop_strings_the_first_in_the_text_counts() -> None:
    stream = Stream(stop=["nd", "END"]).play(by_letter("the end END"), [99])
    assert (stream.text, stream.request.stop_reason) == ("the e", "nd")


def test_a_stop_string_wins_over_an_end_later_in_the_step() -> None:
    stream = Stream(stop="b").play([*by_letter("abab"), EOS], [99])
    assert (stream.text, stream.request.stop_reason) == ("a", "b")
    assert stream.request.output_token_ids == by_letter("ab")
    stream = Stream(stop="b", max_tokens=2).play(by_letter("abab"), [99])
    assert (stream.request.finish_reason, stream.request.stop_reason) == ("stop", "b")


@pytest.mark.parametrize("size", [1, 2, 99])
def test_no_stop_string_before_min_tokens(size: int) -> None:
    """The first is complete at token 2 and does not count, not even later on; the second does."""
    stream = Stream(stop="ab", min_tokens=3).play(by_letter("abaab"), [size] * 9)
    assert (stream.text, stream.request.num_output_tokens) == ("aba", 5)
    stream = Stream(stop="ab", min_tokens=2).play(by_letter("abaab"), [size] * 9)
    assert (stream.text, stream.request.num_output_tokens) == ("", 2)
