"""Segmentations of 3D Slicer (.seg.nrrd): segments are found by their names, since their numbers are arbitrary."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volforge.errors import ScanError
from volforge.volume.dicom.names import exact_names, numbered, structure_finder
from volforge.volume.itk_headers import nrrd_header
from volforge.volume.label_map import LabelMap, Target, present_ids
from volforge.volume.labels import placed
from volforge.volume.read import check_size
from volforge.volume.read_itk import SEGMENT, is_segmentation, read_layers

_UNNAMED = re.compile(r"segment[ _]?\d*", re.IGNORECASE)


@dataclass(frozen=True)
class Segment:
    """One segment.

    Attributes:
        name: As its author wrote it.
        value: Its number in its layer.
        layer: Which of the file's values per voxel holds it, from 0.
    """

    name: str
    value: int
    layer: int

    @property
    def is_named(self) -> bool:
        """Whether someone named it: `Segment_1` is what 3D Slicer calls a segment that has no name yet."""
        return not _UNNAMED.fullmatch(self.name.strip()) and self.name.strip() != str(self.value)

    def __str__(self) -> str:
        return f"'{self.name}' (value {self.value}{f' of layer {self.layer}' if self.layer else ''})"


def segments_of(path: Path) -> list[Segment]:
    """The segments that the header of a file describes, in its order; none where the file is no segmentation.

    Raises:
        ScanError: numbers of segments that are none.
    """
    if not is_segmentation(path):
        return []
    pairs = nrrd_header(path).pairs
    numbers = sorted({int(hit[1]) for key in pairs if (hit := SEGMENT.fullmatch(key))})
    segments = []
    for n in numbers:
        name = pairs.get(f"Segment{n}_Name") or pairs.get(f"Segment{n}_ID", "")
        # files from before 3D Slicer 4.11 tell neither: one layer of 0 and 1 for each segment
        words = pairs.get(f"Segment{n}_LabelValue", "1"), pairs.get(f"Segment{n}_Layer", str(n))
        try:
            value, layer = (int(word) for word in words)
        except ValueError:
            raise ScanError(
                f"segment '{name}' has the value {words[0]!r} in layer {words[1]!r}",
                str(path),
                "save the segmentation again in 3D Slicer",
            ) from None
        segments.append(Segment(name, value, layer))
    return segments


def names_of(segments: Sequence[Segment]) -> dict[Segment, str]:
    """Names by which segments are found in a table of structures: those that are equal are told apart (`numbered`)."""
    return dict(zip(segments, numbered(dict(enumerate(s.name for s in segments))).values(), strict=True))


def read_segments(
    path: Path,
    target: Target | None,
    structures: Mapping[str, int],
    *,
    resample: bool,
    rois: Mapping[str, Collection[str]] | None = None,
) -> LabelMap:
    """Read the segments of a segmentation as structures of the same names, whatever their numbers.

    Where segments overlap, that of the higher id holds, and the overlap is counted. Segments that the table lists
    together for one structure are joined. Segments that nobody named (`Segment_1` ...) are taken by their numbers.

    Args:
        path: The file.
        target: The image's grid; None for label maps without image.
        structures: Id by name.
        resample: Bring segments on another grid onto the image's instead of refusing them.
        rois: Names of segments as their author wrote them, by structure.

    Raises:
        ScanError: a name that no structure has, or that two segments have; segments that the file does not tell
            apart; values that no segment has; another grid.
    """
    segments = segments_of(path)
    _refuse_same_voxels(segments, path)
    layers = []
    for volume in read_layers(path):
        volume.where = str(path)
        volume.scale_as_labels()
        check_size(volume, cropped=True)
        layers.append(placed(volume, path, target, resample=resample))
    _refuse_strangers(segments, layers, path)
    held = [s for s in segments if (layers[s.layer].array == s.value).any()]
    ids = _ids(segments, held, structures, rois or {}, path)
    highest = max([1, *structures.values(), *ids.values()])
    first = layers[0]
    result = LabelMap(
        np.zeros_like(first.array, dtype=np.uint8 if highest < 256 else np.uint16),
        first.grid,
        flags=list(dict.fromkeys(f for layer in layers for f in layer.flags)),
        notes=list(dict.fromkeys(n for layer in layers for n in layer.notes)),
        source=first.source,
    )
    for structure, value in structures.items():
        mine = [s.name for s in ids if ids[s] == value]
        if len(mine) > 1:
            result.notes.append(f"structure '{structure}' holds {' and '.join(mine)}")
    for segment in sorted(ids, key=lambda s: ids[s]):
        result.lay(segment.name, ids[segment], layers[segment.layer].array == segment.value)
    empty = [s.name for s in segments if s not in held]
    if empty:
        result.notes.append(f"segments without a voxel: {', '.join(empty)}")
    result.flag_overlaps()
    return result


def _ids(
    segments: Sequence[Segment],
    held: Sequence[Segment],
    structures: Mapping[str, int],
    rois: Mapping[str, Collection[str]],
    path: Path,
) -> dict[Segment, int]:
    """The id of each segment that has voxels."""
    if not any(s.is_named for s in segments):
        return _by_number(held, structures, path)
    if not structures:
        raise ScanError(
            f"the names of segments need ids: {_some(s.name for s in segments)}",
            str(path),
            "write <cohort>.structures.tsv with structure and id, or let `volforge cohort discover` write it",
        )
    find, names = structure_finder(structures, rois), names_of(segments)
    try:
        meant = {s: find(names[s]) for s in held}
    except ScanError as error:
        error.where = error.where or str(path)
        raise
    strangers = [s for s in held if meant[s] is None]
    if strangers:
        raise ScanError(
            f"segments that no structure is named after: {_some(strangers)}",
            str(path),
            f"rename them in 3D Slicer, or write their names into the column `roi` of the table of structures (now: "
            f"{_some(structures)}), or list which value is which structure in a .tsv (structure, file, value)",
        )
    exact = exact_names(structures, rois)
    for structure in dict.fromkeys(map(str, meant.values())):
        mine = [s for s in held if meant[s] == structure]
        if len(mine) > 1 and not all(names[s] in exact for s in mine):
            raise ScanError(
                f"two segments mean the structure {structure}: {mine[0]} and {mine[1]}",
                str(path),
                "rename one in 3D Slicer, or join the two: there, or in one cell of the column `roi` of the table of "
                f"structures: {names[mine[0]]}\\{names[mine[1]]}",
            )
    return {s: structures[str(meant[s])] for s in held}


def _by_number(held: Sequence[Segment], structures: Mapping[str, int], path: Path) -> dict[Segment, int]:
    """Segments without names mean the ids that they are numbered by, as the values of any map do."""
    if any(s.layer != held[0].layer for s in held):
        raise ScanError(
            f"segments in several layers, and none has a name: {_some(held)}", str(path), "name them in 3D Slicer"
        )
    unknown = [s for s in held if structures and s.value not in structures.values()]
    if unknown:
        raise ScanError(
            f"segments that have no name, and a value that no structure has: {_some(unknown)}",
            str(path),
            f"name them in 3D Slicer after the structures ({_some(structures)})",
        )
    return {s: s.value for s in held}


def _refuse_same_voxels(segments: Sequence[Segment], path: Path) -> None:
    """Segments of one value in one layer cannot be told apart."""
    places: dict[tuple[int, int], Segment] = {}
    for segment in segments:
        other = places.setdefault((segment.layer, segment.value), segment)
        if other is not segment:
            raise ScanError(
                f"the header gives two segments the same voxels: '{other.name}' and '{segment.name}' are both value "
                f"{segment.value} of layer {segment.layer}",
                str(path),
                "save the segmentation again in 3D Slicer, or export each segment to a file of its own into a folder",
            )


def _refuse_strangers(segments: Sequence[Segment], layers: Sequence[LabelMap], path: Path) -> None:
    """Layers that the file lacks, and voxels that belong to no segment."""
    for segment in segments:
        if not 0 <= segment.layer < len(layers):
            raise ScanError(
                f"segment {segment} lies in a layer that the file has not (it has {len(layers)})",
                str(path),
                "save the segmentation again in 3D Slicer",
            )
    for k, layer in enumerate(layers):
        known = {s.value for s in segments if s.layer == k}
        unknown = [i for i in present_ids(layer.array) if i not in known]
        if unknown:
            raise ScanError(
                f"values that no segment of the header has: {_some(unknown)}{f' (layer {k})' if k else ''}; segments: "
                f"{_some(segments)}",
                str(path),
                "save the segmentation again in 3D Slicer",
            )


def _some(items: Iterable[object], most: int = 12) -> str:
    words = [str(i) for i in items]
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")
