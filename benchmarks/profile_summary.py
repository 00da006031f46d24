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
    """
    surfaces = ("step", "run", "drafters", "prefill")
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
            str(point["rows"]): round(1e3 * point["seconds"], 2) for point in profile["prefill"]
        },
    }
