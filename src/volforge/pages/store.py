"""What a page holds once and shows where it is looked at: pictures, views that turn, long tables."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from hashlib import sha256

SVG = "data:image/svg+xml;base64,"
FEWEST_ROWS = 300  # longer tables are not written out: the page builds the rows that are looked at
SMALLEST = 200  # bytes that are worth squeezing


def squeezed(text: str) -> str:
    """Text as base64 of gzip, the same bytes each time; the page's script opens it."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


class Store:
    """Contents by key; a picture that stands at two places is kept once."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def picture(self, uri: str) -> str:
        """Keep a picture's data URI; drawn figures (SVG) are squeezed.

        Returns:
            Its key.
        """
        if uri.startswith(SVG):
            return self._keep("svg:" + squeezed(base64.b64decode(uri[len(SVG) :]).decode()))
        return self._keep(uri)

    def text(self, content: str) -> str:
        """Keep a long text, squeezed; its key."""
        return self._keep("gz:" + squeezed(content))

    def rows(self, rows: Sequence[Sequence[str]]) -> str:
        """Keep the rows of a long table; their key."""
        return self.text(json.dumps([list(map(str, r)) for r in rows], ensure_ascii=False, separators=(",", ":")))

    def content(self) -> str:
        """All of it as JSON that is safe inside a script element."""
        return json.dumps(self.kept, separators=(",", ":")).replace("<", "\\u003c")

    def _keep(self, content: str) -> str:
        key = sha256(content.encode()).hexdigest()[:12]
        self.kept[key] = content
        return key
