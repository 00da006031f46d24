"""Streams of server-sent events: what each answer said last."""

from __future__ import annotations

import re
from typing import Any

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Record, parse_json
from fairdraft.peers.lines import lines

STREAM = re.compile(r"\s*(?:(?:event|id|retry): ?.*\s+|:.*\s+)*data: ?(\{|\[DONE\])")
_TIMES = ("timings", "metrics", "usage", "sglext", "meta_info", "speculative_decoding")


def read_stream(text: str, source: str) -> list[Record] | None:
    """Return each streamed answer as one record: the last that was said of every field.

    Returns:
        None if it is no stream.

    Raises:
        ReadingError: an event is broken, other than the last.
    """
    if not STREAM.match(text):
        return None
    answers: list[dict[str, Any]] = []
    ended, broken = True, 0
    for line in lines(text):
        if not line.startswith("data:"):
            continue
        content = line.removeprefix("data:").strip()
        if broken:
            raise ReadingError(
                f"{source!r}: event {broken} of the stream is cut off or broken: save it anew"
            )
        if content == "[DONE]":
            ended = True
            continue
        try:
            event = parse_json(content)
        except ValueError:
            broken = sum(len(answer["events"]) for answer in answers) + 1
            continue
        if not isinstance(event, dict):
            raise ReadingError(f"{source!r}: an event of the stream is {event!r:.40}, no object")
        key = event.get("id")
        if ended or (key is not None and key != answers[-1].get("id", key)):
            answers.append({"events": []})
            ended = False
        answers[-1]["events"].append(1)
        _merge(answers[-1], event)
    if not answers or (broken and not any(name in answers[-1] for name in _TIMES)):
        raise ReadingError(
            f"{source!r} is a stream that was cut off before it said counts or times: save it whole"
        )
    return [{k: v for k, v in answer.items() if k != "events"} for answer in answers]


def _merge(answer: dict[str, Any], event: dict[str, Any]) -> None:
    for name, value in event.items():
        if value is not None and not (name == "choices" and not value):
            answer[name] = value
