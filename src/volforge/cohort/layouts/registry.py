"""The layouts by name: what each looks for, and the terms of the data set."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import yaml

from volforge.cohort.layouts.discovery import Discovery, Options, Tree
from volforge.errors import VolforgeError

FORM = (KeyError, TypeError, AttributeError, ValueError, IndexError, AssertionError)
"""What reading a file of unexpected form raises."""
READ = "see the terms that came with the data"


@dataclass(frozen=True)
class Layout:
    """A layout.

    Attributes:
        name: As `--layout` takes it.
        title: The data set in words.
        expects: Example paths that make the layout recognisable.
        function: `module:function` below `volforge.cohort.layouts`.
        licence: Terms, written into the head of the sheet.
        citation: What to cite.
    """

    name: str
    title: str
    expects: tuple[str, ...]
    function: str
    licence: str = READ
    citation: str = ""

    def find(self, tree: Tree, options: Options) -> Discovery:
        """Look for scans of this layout."""
        module, _, name = self.function.partition(":")
        try:
            found: Discovery = getattr(import_module(f"volforge.cohort.layouts.{module}"), name)(tree, options)
        except FORM as error:
            raise VolforgeError(
                f"a table of the data set has another form than layout '{self.name}' knows "
                f"({type(error).__name__}: {error})",
                str(tree.folder),
                "look at its dataset.json and tables",
            ) from error
        return found


def _load() -> dict[str, Layout]:
    content = yaml.safe_load((Path(__file__).with_name("layouts.yaml")).read_text(encoding="utf-8"))
    return {name: Layout(name, **{**entry, "expects": tuple(entry["expects"])}) for name, entry in content.items()}


LAYOUTS = _load()
