"""Lines of a text that a user wrote, as editors and the `csv` module count them."""

from __future__ import annotations

import re

END = re.compile(r"\r\n|\n|\r")


def lines_of(text: str, *, keep_ends: bool = False) -> list[str]:
    r"""The lines of a text; `\n`, `\r\n` and `\r` end one.

    `str.splitlines` ends a line at form feeds, at U+0085, U+2028 and U+2029 too: these come with text from word
    processors, are not seen, and would cut a comment or a cell in two.
    """
    lines, start = [], 0
    for end in END.finditer(text):
        lines.append(text[start : end.end() if keep_ends else end.start()])
        start = end.end()
    return lines + [text[start:]] * (start < len(text))
