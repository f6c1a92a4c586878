"""Scans of one head under different subjects: by equal values, and by the shape of skull or skin."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from volforge.cohort.duplicates.radius_map import MIN_SHARE, Fingerprint, fingerprint
from volforge.cohort.duplicates.registration import MIN_OVERLAP, Match, compare, relative, to_reference, verify
from volforge.cohort.sheet import SheetRow
from volforge.errors import ScanError
from volforge.volume.geometry import Array, reorientation_of
from volforge.volume.units import hounsfield_offset

BONE_HU = 300
SAME_MM = 0.5  # residual of altered copies of one head: 0.61 at most, 0.39 without a shift of 1 mm
LOOK_MM = 0.75  # residual of different heads: 0.92 at least, among 40
RANKED = 8  # candidates of each scan that are registered
FAR_MM = 3.5  # quick distance beyond which none is; altered copies reached 2.1


@dataclass(frozen=True)
class Entry:
    """A scan to be compared.

    Attributes:
        cohort: Name of its cohort.
        row: Its row.
    """

    cohort: str
    row: SheetRow

    @property
    def name(self) -> str:
        """Cohort and scan."""
        return f"{self.cohort}/{self.row.scan}"


@dataclass
class Shape:
    """What is kept of a scan: a hash of its values, radius maps by kind (`bone`, `skin`), or why there is none."""

    values: str = ""
    maps: dict[str, Fingerprint] = field(default_factory=dict)
    refused: str = ""


@dataclass(frozen=True)
class Pair:
    """Two scans of different subjects that seem to be one head.

    Attributes:
        a, b: The scans.
        verdict: `same values`, `same head` or `look at these`.
        kind: What was compared: values, bone or skin.
        residual_mm: 80th percentile of the distance of the registered surfaces, 0 for equal values.
        offset_mm: Even distance between them that was taken out (another threshold).
        overlap: Share of the vaults that have partners.
    """

    a: Entry
    b: Entry
    verdict: str
    kind: str
    residual_mm: float = 0.0
    offset_mm: float = 0.0
    overlap: float = 1.0


def shape_of(entry: Entry) -> Shape:
    """Read a scan and take its fingerprints; reasons are kept, not raised."""
    try:
        return _shape_of(entry.row)
    except (ScanError, ValueError) as error:
        return Shape(refused=error.message if isinstance(error, ScanError) else str(error))


def _shape_of(row: SheetRow) -> Shape:
    from volforge.volume.read import read_volume
    from volforge.volume.source_volume import scaled

    column = next((c for c in ("image", "defective", "labels") if c in row.files), None)
    if column is None or (column == "labels" and not Path(row.files[column]).is_file()):
        return Shape(refused="neither image nor a map")
    volume = read_volume(Path(row.files[column]), labels=column != "image" or row.modality == "mask")
    turn = reorientation_of(volume.grid.affine)
    values = np.ascontiguousarray(turn.apply(scaled(volume)))
    affine = turn.canonical(volume.grid).affine
    if values.max() == values.min():
        return Shape(refused=f"all values are {values.flat[0]}")
    shape = Shape(_hash_of(values))
    refusals = []
    for kind, mask in _masks(values, row, column, turn.canonical(volume.grid).spacing_mm):
        try:
            found = fingerprint(mask, affine)
            if found.share < MIN_SHARE:
                raise ValueError(f"only {found.share:.0%} of the vault is smooth and in view")
            shape.maps[kind] = found
        except ValueError as error:
            refusals.append(f"{kind}: {error}")
    if not shape.maps:
        shape.refused = "; ".join(refusals) or "nothing to compare"
    return shape


def _masks(
    values: Array, row: SheetRow, column: str, spacing: tuple[float, float, float]
) -> Iterator[tuple[str, Array]]:
    if row.modality == "mask" or column != "image":
        yield "bone", values > 0
        return
    is_ct = row.modality in ("CT", "CBCT") and row.unit != "arbitrary"
    if offset := hounsfield_offset(row.unit):
        values = values.astype(np.int32) - offset
    if is_ct:
        yield "bone", values > BONE_HU
    from volforge.config.models import BodyMask
    from volforge.volume.body_mask import find_body

    yield "skin", find_body(values, spacing, is_ct, BodyMask()).mask


def _hash_of(values: Array) -> str:
    """A hash of shape and values, whatever the file format and the integer type."""
    is_whole = values.dtype.kind in "iub" or bool(np.array_equal(np.rint(values), values))
    exact = values.astype(np.int64) if is_whole and np.abs(values).max() < 2**53 else values.astype(np.float32)
    digest = hashlib.sha256(str(values.shape).encode())
    digest.update(np.ascontiguousarray(exact).tobytes())
    return digest.hexdigest()


def find_duplicates(
    entries: Sequence[Entry], shapes: Sequence[Shape], progress: Callable[[str], None] = lambda text: None
) -> list[Pair]:
    """All pairs of scans of different subjects that seem to be one head, the nearest first.

    Args:
        entries: Scans; those of one subject of one cohort are not held against each other.
        shapes: Of the entries, by `shape_of`.
        progress: Told what is being done.
    """
    pairs = {(i, j): Pair(entries[i], entries[j], "same values", "values") for i, j in _equal(entries, shapes)}
    for kind in ("bone", "skin"):
        members = [i for i, s in enumerate(shapes) if kind in s.maps]
        if len(members) < 2:
            continue
        progress(f"{kind}: {len(members)} heads are ranked")
        candidates, starts = _ranked([shapes[i].maps[kind] for i in members])
        wanted = [(a, b) for a, b in sorted(candidates) if _may_match(entries[members[a]], entries[members[b]])]
        progress(f"{kind}: {len(wanted)} pairs are registered")
        for a, b in wanted:
            i, j = members[a], members[b]
            match = verify(shapes[i].maps[kind], shapes[j].maps[kind], starts(a, b))
            if match.residual_mm > LOOK_MM or match.overlap < MIN_OVERLAP:
                continue
            old = pairs.get((i, j))
            if old is None or (old.kind != "values" and match.residual_mm < old.residual_mm):
                verdict = "same head" if match.residual_mm <= SAME_MM else "look at these"
                pairs[i, j] = Pair(
                    entries[i], entries[j], verdict, kind, match.residual_mm, match.offset_mm, match.overlap
                )
    return sorted(pairs.values(), key=lambda p: (p.residual_mm, p.a.name, p.b.name))


def _may_match(a: Entry, b: Entry) -> bool:
    return a.cohort != b.cohort or a.row.subject != b.row.subject


def _equal(entries: Sequence[Entry], shapes: Sequence[Shape]) -> Iterator[tuple[int, int]]:
    by_hash: dict[str, list[int]] = {}
    for i, shape in enumerate(shapes):
        if shape.values:
            by_hash.setdefault(shape.values, []).append(i)
    for members in by_hash.values():
        for n, i in enumerate(members):
            yield from ((i, j) for j in members[n + 1 :] if _may_match(entries[i], entries[j]))


def _ranked(
    maps: Sequence[Fingerprint],
) -> tuple[set[tuple[int, int]], Callable[[int, int], list[tuple[Array, Array]]]]:
    """Pairs worth a registration, and the starts of each: by distance of quick vectors at two reference heads."""
    references = sorted({0, len(maps) // 2})
    distance = np.full((len(maps), len(maps)), np.inf)
    placed: list[list[Match]] = []
    for reference in references:
        found = [to_reference(m, maps[reference]) for m in maps]
        vectors = np.stack([v for _, v in found])
        distance = np.minimum(distance, compare(vectors, vectors))
        placed.append([m for m, _ in found])
    np.fill_diagonal(distance, np.inf)
    pairs = set()
    for a in range(len(maps)):
        for b in np.argsort(distance[a], kind="stable")[:RANKED]:
            if distance[a, b] <= FAR_MM:
                pairs.add((min(a, int(b)), max(a, int(b))))

    def starts(a: int, b: int) -> list[tuple[Array, Array]]:
        return [*(relative(of[a], of[b]) for of in placed), (np.eye(3), np.zeros(3))]

    return pairs, starts
