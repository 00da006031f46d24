"""Tokens to text as they come, and the stop strings in it."""

from __future__ import annotations

from typing import Any

from tokenizers.decoders import DecodeStream

from fairdraft.config import SamplingParams
from fairdraft.errors import CheckpointError
from fairdraft.request import Request


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

    def add(self, request: Request, tokens: list[int]) -> str:
        """Take in the tokens a request gained.

        At a stop string the request ends ("stop", `stop_reason` is the string), and the tokens
        behind the one that completed it are removed from the request and from `tokens`.

        Returns:
            Text that may be shown now. What could be the beginning of a stop string is held back
            until it is settled or the request ends.
        """
        for i, token in enumerate(tokens):
            last = request.finish_reason is not None and i + 1 == len(tokens)
            piece = self._piece(token, request, last)
            before = len(self.text)
            self.text += piece
            counted = request.num_output_tokens - len(tokens) + i + 1
            if piece and counted >= request.params.min_tokens:
                found = self._find_stop(before)
                if found is not None:
                    self._stop_at(request, tokens, i, found)
                    break
        ready = len(self.text)
        if request.finish_reason is None:
            ready = max(self._shown, ready - self._held)
        shown, self._shown = self.text[self._shown : ready], ready
        return shown

    def _piece(self, token: int, request: Request, last: bool) -> str:
        """Text that a token adds; half a character waits for its other half."""
        try:
            piece = self._stream.step(self._backend, token) or ""
        except Exception:  # tokenizers raises a bare one where byte tokens form no character
            self._stream = DecodeStream(skip_special_tokens=self._skip_special)
            piece = self._stream.step(self._backend, token) or ""
        if last:
            whole = self._backend.decode(
                request.output_token_ids, skip_special_tokens=self._skip_special
            )
            if whole.startswith(self.text + piece):  # what still waited, as broken as it is
                piece = whole[len(self.text) :]
        return piece

    def _find_stop(self, before: int) -> tuple[int, str] | None:
        """The earliest stop string that the newest text completes: (where, which)."""
        places = (
            (self.text.find(word, max(before - len(word) + 1, 0)), word) for word in self._stop
        )
        return min((pair for pair in places if pair[0] >= 0), default=None)

    def _stop_at(self, request: Request, tokens: list[int], i: int, found: tuple[int, str]) -> None:
        place, word = found
        self.text = self.text[: place + (len(word) if self._keep_stop else 0)]
        extra = len(tokens) - i - 1
        if extra:
            del tokens[i + 1 :]
            del request.token_ids[len(request.token_ids) - extra :]
        request.finish_reason = "stop"
        request.stop_reason = word
