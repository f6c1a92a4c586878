"""Limits of a configuration file, looked at before it is built: depth, size, and what its aliases stand for.

A file of a kilobyte whose anchors hold nine aliases each stands for a thousand million values ("billion laughs").
"""

from __future__ import annotations

from dataclasses import dataclass

import yaml

MOST_BYTES = 1 << 20
MOST_VALUES = 100_000
DEEPEST = 50


@dataclass(frozen=True)
class Excess:
    """What is too much in a file.

    Attributes:
        line, column: 1-based; 0 where it is the whole file.
        message: What is too much.
        remedy: What to do.
    """

    line: int
    column: int
    message: str
    remedy: str


def excess_of(text: str) -> Excess | None:
    """What is too much in a YAML text, None where it can be built.

    Events are counted without building anything: their parser keeps no values and does not call itself.

    Args:
        text: The content of a file.

    Raises:
        yaml.YAMLError: It is no YAML.
    """
    if len(text) > MOST_BYTES:
        return Excess(0, 0, f"{len(text):,} characters are too many for a configuration", "keep lists in sample sheets")
    sizes: dict[str, int] = {}  # values that an anchor stands for, aliases in it counted out
    open_nodes: list[tuple[str | None, int]] = []
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        found = 0
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            open_nodes.append((event.anchor, 1))
            if len(open_nodes) > DEEPEST:
                return _at(event, f"lists and mappings lie more than {DEEPEST} deep in each other", "write it flatter")
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            anchor, found = open_nodes.pop()
            if anchor:
                sizes[anchor] = found
        elif isinstance(event, yaml.AliasEvent):
            found = sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            found = 1
            if event.anchor:
                sizes[event.anchor] = 1
        if found and open_nodes:
            anchor, size = open_nodes[-1]
            open_nodes[-1] = (anchor, size + found)
        if found > MOST_VALUES or (open_nodes and open_nodes[-1][1] > MOST_VALUES):
            return _at(
                event, f"more than {MOST_VALUES:,} values, aliases counted out", "write the values that are meant"
            )
    return None


def _at(event: yaml.Event, message: str, remedy: str) -> Excess:
    mark = event.start_mark
    return Excess(mark.line + 1 if mark else 0, mark.column + 1 if mark else 0, message, remedy)
