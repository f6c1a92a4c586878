"""Durations in words."""

from __future__ import annotations


def in_words(seconds: float) -> str:
    """A duration such as `2 d 3 h`, `1 h 05 min`, `3 min` or `20 s`."""
    if seconds >= 86400:
        return f"{int(seconds // 86400)} d {int(seconds % 86400 // 3600)} h"
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
    if seconds >= 90:
        return f"{round(seconds / 60)} min"
    return f"{max(0, round(seconds))} s"
