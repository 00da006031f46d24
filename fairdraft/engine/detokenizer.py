"""Tokens to text as they come, and the stop strings in it."""

from __future__ import annotations

from typing import Any

from tokenizers.decoders import DecodeStream

from fairdraft.config import SamplingParams
from fairdraft.errors import CheckpointError
from fairdraft.request import Cut, Request


class Detokenizer:
    """The text of one request.

    Args:
        tokenizer: a transformers tokenizer with a `tokenizers` backend.
        params: stop strings and special-token handling.

    Raises:
        CheckpointError: the tokenizer has no such backend.
    """

    def __init__(self, tokenizer: Any, params: SamplingParams) -> None:
        self._backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        if self._backend is None:
            raise CheckpointError(
                f"{type(tokenizer).__name__} has no fast version, which streaming needs: save one "
                "with tokenizer.json beside the checkpoint"
            )
        self._skip_special = params.skip_special_tokens
        self._stream = DecodeStream(skip_special_tokens=self._skip_special)
        self._stop = params.stop_strings
        self._keep_stop = params.include_stop_str_in_output
        self._held = max((len(word) - 1 for word in self._stop), default=0)
        self._shown = 0
        self.text = ""

    def add(self, request: Request, cut: Cut) -> tuple[str, Cut]:
        """Turn a step's tokens into text, before the request takes them.

        Args:
            request: without these tokens.
            cut: the step's tokens, up to where tokens alone end it.

        Returns:
            Text that may be shown now, and the cut, moved forward to the token that completes a
            stop string. What could be the beginning of a stop string is held back until it is
            settled or the request ends.
        """
        tokens = cut.token_ids
        for i, token in enumerate(tokens):
            last = cut.finish_reason is not None and i + 1 == len(tokens)
            whole = [*request.output_token_ids, *tokens] if last else None
            before = len(self.text)
            piece = self._piece(token, whole)
            self.text += piece
            if piece and request.num_output_tokens + i + 1 >= request.params.min_tokens:
                found = self._find_stop(before)
                if found is not None:
                    place, word = found
                    self.text = self.text[: place + (len(word) if self._keep_stop else 0)]
                    cut = Cut(tokens[: i + 1], "stop", word)
                    break
        ready = len(self.text)
        if cut.finish_reason is None:
            ready = max(self._shown, ready - self._held)
        shown, self._shown = self.text[self._shown : ready], ready
        return shown, cut

    def _piece(self, token: int, whole: list[int] | None) -> str:
        """Return the text that a token adds; half a character waits for its other half.

        Args:
            token: the next one.
            whole: all output tokens, if it is the last: nothing waits any longer.
        """
        try:
            piece = self._stream.step(self._backend, token) or ""
        except Exception:  # tokenizers raises a bare one where byte tokens form no character
            self._stream = DecodeStream(skip_special_tokens=self._skip_special)
            piece = self._stream.step(self._backend, token) or ""
        if whole is not None:
            text = self._backend.decode(whole, skip_special_tokens=self._skip_special)
            if text.startswith(self.text + piece):  # what still waited, as broken as it is
                piece = text[len(self.text) :]
        return piece

    def _find_stop(self, before: int) -> tuple[int, str] | None:
        """The earliest stop string that the newest text completes: (where, which)."""
        places = (
            (self.text.find(word, max(before - len(word) + 1, 0)), word) for word in self._stop
        )
        return min((pair for pair in places if pair[0] >= 0), default=None)
