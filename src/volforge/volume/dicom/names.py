"""Names in DICOM label files against the structures of a cohort. Names are kept as their author wrote them."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from volforge.errors import ScanError
from volforge.tables.names import natural, plain_name, tidy_name

SIGNS = {"+": " plus ", "<": " below ", ">": " above ", "=": " is ", "%": " percent "}
TURNED = {"\u00df": "ss", "\u00e6": "ae", "\u0153": "oe", "\u00f8": "o", "\u0142": "l", "\u0111": "d", "\u00fe": "th"}


@dataclass(frozen=True)
class FileNames:
    """Names of what one file holds.

    Attributes:
        drawn: Name by number of what has contours or voxels; equal names are told apart (`numbered`).
        empty: Names of what has none.
    """

    drawn: dict[int, str]
    empty: tuple[str, ...] = ()


def name_text(value: Any) -> str:
    """The text of a name; one with a backslash in it was read as several."""
    return str(value or "") if value is None or isinstance(value, str) else "/".join(map(str, value))


def numbered(names: Mapping[int, str]) -> dict[int, str]:
    """Names that differ: the second of one name is `name#2`, one without a name is `#1`; blanks are joined."""
    tidy = {n: tidy_name(text) for n, text in sorted(names.items())}
    taken: set[str] = set()
    result = {}
    for number, text in tidy.items():
        name, count = text or "#1", 1
        while name in taken or (count > 1 and name in tidy.values()):
            count += 1
            name = f"{text}#{count}"
        taken.add(name)
        result[number] = name
    return result


def meaning(name: str, *, signs: bool = True) -> str:
    """A name in lower-case letters, digits and _, its signs as words: `PTV-` is not `PTV+`.

    Accents are dropped. Empty for a name in another script, of which nothing but a guess could be made.
    """
    if signs:
        name = re.sub(r"[-\u2212\u2013](?=\s*(?:$|[)\]]))", " minus ", name)
    folded = unicodedata.normalize("NFKD", name.casefold())
    folded = "".join(TURNED.get(c, c) for c in folded if not unicodedata.combining(c))
    if any(c.isalnum() and not c.isascii() for c in folded):
        return ""
    return plain_name("".join(SIGNS.get(c, c) for c in folded) if signs else folded)


def table_of(files: Iterable[FileNames]) -> dict[str, tuple[str, ...]]:
    """Structures for the names in files: the names that mean it, by structure, in natural order.

    Names that differ in case, blanks or punctuation alone are one structure, unless one file holds several of them:
    then each is a structure of its own. Names in another script get `roi_1`, `roi_2` ...
    """
    files = list(files)
    held = sorted({n for f in files for n in f.drawn.values()}, key=natural)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in held:
        groups[meaning(name) or f"\0{name}"].append(name)
    for means in [g for g, names in groups.items() if _is_split(names, files)]:
        groups.update({f"\0{name}": [name] for name in groups.pop(means)})
    known = {meaning(n) for n in held}
    for name in sorted({tidy_name(n) for f in files for n in f.empty}, key=natural):
        if name and meaning(name) not in known - {""} and name not in held:
            groups[meaning(name) or f"\0{name}"].append(name)
    table: dict[str, tuple[str, ...]] = {}
    short = [meaning(names[0], signs=False) for names in groups.values()]
    scripts = 0
    for names in sorted(groups.values(), key=lambda names: natural(names[0])):
        word = "" if names[0].startswith("#") else meaning(names[0], signs=False)
        if word:
            table[_free(word if short.count(word) == 1 else meaning(names[0]), table)] = tuple(names)
        else:
            scripts += 1
            table[_free(f"roi_{scripts}", table)] = tuple(names)
    return dict(sorted(table.items(), key=lambda item: natural(item[0])))


def _is_split(names: list[str], files: list[FileNames]) -> bool:
    """Whether one file holds two of these names."""
    return len(names) > 1 and any(sum(n in f.drawn.values() for n in names) > 1 for f in files)


def _free(word: str, taken: Collection[str]) -> str:
    """A name that is not taken: with a number behind it where it must."""
    name, count = word, 1
    while name in taken:
        count += 1
        name = f"{word[:58]}_{count}"
    return name


def exact_names(structures: Collection[str], rois: Mapping[str, Collection[str]]) -> dict[str, str]:
    """Structure by each name that the table lists for it."""
    return {tidy_name(n): s for s, listed in rois.items() for n in listed if s in structures}


def structure_finder(structures: Collection[str], rois: Mapping[str, Collection[str]]) -> Callable[[str], str | None]:
    """What finds the structure that a name means, None where it means none; see `matched_names`.

    It raises a `ScanError` for a name that may mean several.
    """
    exact = exact_names(structures, rois)
    forms: dict[str, set[str]] = defaultdict(set)
    for structure in structures:
        listed = rois.get(structure) or ()
        for form in map(meaning, listed):
            forms[form].add(structure)
        if not any(meaning(n, signs=False) == structure != meaning(n) for n in listed):  # not `ptv` listed as `PTV+`
            forms[structure].add(structure)

    def structure_of(name: str) -> str | None:
        if name in exact:
            return exact[name]
        base = re.sub(r"#\d+$", "", name)
        for form in (meaning(name), meaning(base), meaning(base, signs=False), plain_name(base)):
            hits = forms.get(form, set()) if form else set()
            if len(hits) > 1:
                raise ScanError(
                    f"'{name}' may mean {' or '.join(sorted(hits))}",
                    remedy="write it into the column `roi` of one of them in the table of structures",
                )
            if hits:
                return next(iter(hits))
        return None

    return structure_of


def matched_names(
    names: FileNames, structures: Mapping[str, int], rois: Mapping[str, Collection[str]]
) -> tuple[dict[int, str], list[str]]:
    """Which structure each numbered name means.

    A name that stands in the table (`rois`) means that structure, letter by letter. Others are compared in lower
    case with _ for other characters: with the names in the table, or with the structure itself where it lists none.

    Args:
        names: Names in the file.
        structures: Id by name.
        rois: Names as written, by structure; structures may lack.

    Returns:
        Structure by number (of several only where the table lists them together); notes on what was left out.

    Raises:
        ScanError: no name is a structure's, or two that the table does not list together mean one.
    """
    exact = exact_names(structures, rois)
    structure_of = structure_finder(structures, rois)
    found = {n: structure_of(text) for n, text in names.drawn.items()}
    wanted = {n: s for n, s in found.items() if s is not None}
    empty = {s for s in map(structure_of, map(tidy_name, names.empty)) if s is not None} - set(wanted.values())
    if not wanted:
        every = sorted({*names.drawn.values(), *names.empty}, key=natural)
        if empty:
            drawn = ", ".join(sorted(names.drawn.values(), key=natural)[:12])
            raise ScanError(
                f"no closed contour or voxel for {', '.join(sorted(empty))}; drawn: {drawn or 'nothing'}",
                remedy="export the structures again, as closed contours or segments: points and open lines hold none",
            )
        raise ScanError(
            f"none of its names is a structure: {', '.join(every[:12]) or '(no name)'}",
            remedy=f"write them into the column `roi` of the table of structures (now: {', '.join(structures)[:200]})",
        )
    notes = []
    for structure in dict.fromkeys(wanted.values()):
        mine = [names.drawn[n] for n in wanted if wanted[n] == structure]
        if len(mine) > 1 and not all(name in exact for name in mine):
            together = "\\".join(mine)
            raise ScanError(
                f"{len(mine)} of its names mean structure '{structure}': {', '.join(mine)}",
                remedy="give each a row of its own in the table of structures, with the name in its column `roi` "
                f"(`volforge cohort discover` writes them), or join them in one cell: {together}",
            )
        if len(mine) > 1:
            notes.append(f"structure '{structure}' holds {' and '.join(mine)}")
    left_out = sorted({names.drawn[n] for n, s in found.items() if s is None}, key=natural)
    if left_out:
        notes.append(f"names that are no structure of the cohort were left out: {', '.join(left_out)}")
    notes += [f"structure '{s}' has no closed contour or voxel" for s in sorted(empty)]
    return wanted, notes
