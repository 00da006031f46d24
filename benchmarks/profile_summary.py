"""A profile told briefly: milliseconds by requests and context, a line each."""

from __future__ import annotations

from typing import Any


def profile_summary(profile: dict[str, Any]) -> dict[str, Any]:
    """Return what a profile says, without its samples.

    Args:
        profile: as `Profile.to_json` gives it.

    Returns:
        Its own keys but for the surfaces, and `ms`: a row for each surface ("step", "run", or a
        drafter's name), number of requests and context, with milliseconds by rows of each request.
        Beside them `prefill_ms` by rows of a prompt chunk, and `reading_ms` of drafters likewise.
    """
    surfaces = ("step", "run", "drafters", "prefill", "reading")
    named = {name: profile[name] for name in ("step", "run")} | profile["drafters"]
    rows: dict[tuple[str, int, float], dict[str, float]] = {}
    for name, points in named.items():
        for point in points:
            place = (name, point["requests"], point["context"])
            ms = rows.setdefault(place, {})
            ms[str(point["rows"])] = round(1e3 * point["seconds"], 4)
    return {
        **{key: value for key, value in profile.items() if key not in surfaces},
        "ms": [
            {"of": name, "requests": requests, "context": context, "ms": ms}
            for (name, requests, context), ms in rows.items()
        ],
        "prefill_ms": {
            _chunk(point): round(1e3 * point["seconds"], 2) for point in profile["prefill"]
        },
        "reading_ms": {
            method: {str(point["rows"]): round(1e3 * point["seconds"], 2) for point in points}
            for method, points in profile.get("reading", {}).items()
        },
    }


def _chunk(point: dict[str, Any]) -> str:
    """Return the rows of a prompt chunk, and where it begins if that is late in its text."""
    late = point["context"] not in (0, point["rows"])  # older profiles have their own number
    return f"{point['rows']} behind {point['context']}" if late else str(point["rows"])
