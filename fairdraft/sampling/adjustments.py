"""What changes logits before temperature, compiled: `filters.adjust` for one row on its way.

A request's biases, bans and penalties travel as two arrays, one of whole numbers and one of others;
this file writes and reads them.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,misc"

from __future__ import annotations

import math

import numpy as np
from numba import njit

from fairdraft.request import Request

_COUNTS = 7  # whole numbers ahead of the lists
_FACTORS = 3  # other numbers ahead of the biases


def adjustments_of(request: Request) -> tuple[list[int], list[float]]:
    """Return a request's adjustments as `adjust_row` reads them.

    Args:
        request: one for which `filters.needs_history` holds.
    """
    params = request.params
    biases = params.logit_bias or {}
    ends = sorted(request.stop_token_ids | request.eos_token_ids) if params.min_tokens else []
    bad_words = [number for word in request.bad_words_token_ids for number in (len(word), *word)]
    penalises = params.presence_penalty or params.frequency_penalty
    prompt = request.prompt_token_ids if params.repetition_penalty != 1 else ()
    reads_output = prompt or penalises or bad_words
    output = request.output_token_ids if reads_output else []
    words = [
        request.num_output_tokens,
        params.min_tokens,
        len(biases),
        len(ends),
        len(bad_words),
        len(prompt),
        len(output),
        *biases,
        *ends,
        *bad_words,
        *prompt,
        *output,
    ]
    factors = (params.repetition_penalty, params.presence_penalty, params.frequency_penalty)
    return words, [*factors, *biases.values()]


@njit(cache=True)
def _ends_with(output, drafted, head):
    """Whether the output and the drafted tokens behind it end with `head`."""
    total = output.size + drafted.size
    if head.size > total:
        return False
    for i in range(head.size):
        place = total - head.size + i
        token = output[place] if place < output.size else drafted[place - output.size]
        if token != head[i]:
            return False
    return True


@njit(cache=True)
def _ban(row, token):
    if token < row.size:  # a tokenizer may know more tokens than the model
        row[token] = -math.inf


@njit(cache=True)
def adjust_row(logits, words, numbers, drafted, row):
    """Write a row's logits after biases, bans and penalties.

    Args:
        logits: [V] float32.
        words, numbers: the request's, from `adjustments_of`.
        drafted: draft tokens between the request's tokens and this row.
        row: [V] float32, written.
    """
    for i in range(row.size):
        row[i] = logits[i]
    num_output, min_tokens, start = words[0], words[1], _COUNTS
    biased = words[start : start + words[2]]
    ends = words[start + words[2] :][: words[3]]
    bad_words = words[start + words[2] + words[3] :][: words[4]]
    said = words[start + words[2] + words[3] + words[4] :]
    prompt, output = said[: words[5]], said[words[5] :][: words[6]]
    for i in range(biased.size):
        row[biased[i]] += np.float32(numbers[_FACTORS + i])
    if num_output + drafted.size < min_tokens:
        for token in ends:
            _ban(row, token)
    first = 0
    while first < bad_words.size:
        last = first + bad_words[first]
        if _ends_with(output, drafted, bad_words[first + 1 : last]):
            _ban(row, bad_words[last])
        first = last + 1
    repetition, presence, frequency = numbers[0], numbers[1], numbers[2]
    if repetition != 1 or presence != 0 or frequency != 0:
        _penalise(row, prompt, output, drafted, repetition, presence, frequency)


@njit(cache=True)
def _penalise(row, prompt, output, drafted, repetition, presence, frequency):
    counts = np.zeros(row.size, np.int32)  # of output; a token of the prompt alone has −1
    for token in prompt:
        counts[token] = -1
    for said in (output, drafted):
        for token in said:
            counts[token] = max(counts[token], 0) + 1
    factor = np.float32(repetition)
    for seen in (prompt, output, drafted):
        for token in seen:
            count = counts[token]
            if count == 0:  # done
                continue
            counts[token] = 0
            if factor != 1:
                row[token] = row[token] / factor if row[token] > 0 else row[token] * factor
            if count > 0:
                row[token] -= np.float32(presence) + np.float32(frequency) * np.float32(count)
