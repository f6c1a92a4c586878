"""The published patches at work: a picture that moves over the skull, patch by patch, for both targets.

Source: the two animations of the repository of Li et al. (2021), with the rule that each patch should keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volforge.errors import VolforgeError
from volforge.tasks.implant.grids import cut
from volforge.tasks.implant.patch_rule import changes
from volforge.tasks.implant.tiles import tile_starts
from volforge.volume.boxes import foreground_box
from volforge.volume.geometry import Array
from volforge.volume.picture import GAP, RGB

PANEL = 180
PATCH = 110
ADDED: RGB = (230, 159, 0)
LOST: RGB = (86, 180, 233)
KEPT: RGB = (235, 235, 235)
BROKEN: RGB = (213, 94, 0)
MILLISECONDS, LAST_MILLISECONDS = 350, 2500
SUFFIXES = (".gif", ".webp")
CAPTION = (
    "{scan}: the skull from above with the patch that is looked at, the patch, the answer, and what is stitched "
    "so far. Orange is what the answer adds, blue bone that it loses. The answer's frame is white where the published "
    "rule is kept, red where it is broken."
)


@dataclass(frozen=True)
class PatchScan:
    """A cap and what a network gave of its patches.

    Attributes:
        skull: (X, Y, Z) the defective skull that was shown, boolean.
        answer: (X, Y, Z) the stitched answer, boolean.
        implant: (X, Y, Z) the true one, boolean.
        patch: Voxels of a patch.
        target: `skull` or `implant`.
    """

    skull: Array
    answer: Array
    implant: Array
    patch: tuple[int, int, int]
    target: str


def frames(scan: PatchScan) -> list[Array]:
    """One picture a patch, in their order, (rows, columns, 3) uint8; the last one is stitched whole."""
    changed, added = changes(scan.answer, scan.skull, scan.target)
    lost: Array = changed & ~added
    bone = scan.skull if scan.target == "implant" else scan.answer
    box = foreground_box(scan.skull | scan.implant) or tuple(slice(0, n) for n in scan.skull.shape)
    most = int(scan.skull.sum(axis=2).max(initial=1))
    done = np.zeros(scan.skull.shape, bool)
    found = []
    for start in tile_starts(scan.skull.shape, scan.patch):
        here = tuple(slice(s, min(s + p, n)) for s, p, n in zip(start, scan.patch, scan.skull.shape, strict=True))
        parts = [cut(v, np.array(start), scan.patch) for v in (scan.skull, bone, added, lost, scan.implant)]
        is_added, is_lost = bool(parts[2].any()), bool(parts[3].any())
        is_kept = is_added if parts[4].any() else not (is_added or is_lost)
        nothing = np.zeros(scan.patch, bool)
        shown = parts[1] if scan.target == "skull" else nothing
        done[here] = True
        whole = above(scan.skull, nothing_like(scan.skull), nothing_like(scan.skull), most)
        framed = _framed(_cropped(whole, box), here, box)
        patch_most = max(1, int(parts[0].sum(axis=2).max(initial=1)))
        row = [
            _fit(framed, PANEL),
            _fit(above(parts[0], nothing, nothing, patch_most), PATCH, KEPT),
            _fit(above(shown, parts[2], parts[3], patch_most), PATCH, KEPT if is_kept else BROKEN),
            _fit(
                _cropped(above(bone & done if scan.target == "skull" else bone, added & done, lost & done, most), box),
                PANEL,
            ),
        ]
        found.append(_row(row))
    return found


def nothing_like(volume: Array) -> Array:
    """An empty volume of the same grid."""
    return np.zeros(volume.shape, bool)


def above(bone: Array, added: Array, lost: Array, most: int) -> Array:
    """Bone seen from above, brighter where there is more of it, with what is added and lost on top.

    Args:
        bone, added, lost: (X, Y, Z) boolean.
        most: Voxels one above the other that are white.

    Returns:
        (X, Y, 3) uint8.
    """
    grey = np.clip(np.sqrt(bone.sum(axis=2) / most), 0, 1) * 230
    found = np.repeat(grey[..., None], 3, axis=2)
    for part, colour in ((lost, LOST), (added, ADDED)):
        here = np.asarray(part.any(axis=2))
        depth = np.clip(part.sum(axis=2) / max(1, int(part.sum(axis=2).max(initial=1))), 0.35, 1)[..., None]
        found = np.where(here[..., None], (1 - 0.8 * depth) * found + 0.8 * depth * np.array(colour), found)
    return found.astype(np.uint8)


def _cropped(flat: Array, box: Sequence[slice]) -> Array:
    return flat[box[0], box[1]]


def _framed(flat: Array, here: Sequence[slice], box: Sequence[slice]) -> Array:
    """A view with the outline of a patch."""
    found = flat.copy()
    low = [min(max(h.start - b.start, 0), n - 1) for h, b, n in zip(here, box, flat.shape, strict=False)]
    high = [min(max(h.stop - b.start, 1), n) - 1 for h, b, n in zip(here, box, flat.shape, strict=False)]
    for x in (low[0], high[0]):
        found[x, low[1] : high[1] + 1] = (255, 255, 0)
    for y in (low[1], high[1]):
        found[low[0] : high[0] + 1, y] = (255, 255, 0)
    return found


def _fit(flat: Array, side: int, frame: RGB | None = None) -> Array:
    """(X, Y, 3) turned as people look at it, anterior up and the patient's right on the left, in a square of `side`."""
    from PIL import Image

    seen = flat.transpose(1, 0, 2)[::-1, ::-1]
    inner = side - (4 if frame else 0)
    scale = inner / max(seen.shape[:2])
    size = (max(1, round(seen.shape[1] * scale)), max(1, round(seen.shape[0] * scale)))
    way = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    picture = np.asarray(Image.fromarray(np.ascontiguousarray(seen)).resize(size, way))
    if frame is not None:
        picture = np.stack([np.pad(picture[..., k], 2, constant_values=c) for k, c in enumerate(frame)], axis=-1)
    square = np.zeros((side, side, 3), np.uint8)
    top, left = (side - picture.shape[0]) // 2, (side - picture.shape[1]) // 2
    square[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return square


def _row(tiles: Sequence[Array]) -> Array:
    height = max(t.shape[0] for t in tiles)
    found = []
    for tile in tiles:
        top = (height - tile.shape[0]) // 2
        found.append(np.pad(tile, ((top, height - tile.shape[0] - top), (0, 2 * GAP), (0, 0))))
    return np.concatenate(found, axis=1)[:, : -2 * GAP]


def write_movie(pictures: Sequence[Array], path: Path) -> None:
    """Write pictures as a file that moves, over and over.

    Args:
        pictures: (rows, columns, 3) uint8 each, of one size.
        path: `.gif`, or `.webp`, without loss.

    Raises:
        VolforgeError: Another ending.
    """
    from PIL import Image

    if path.suffix not in SUFFIXES:
        raise VolforgeError(f"'{path.suffix}' does not move", str(path), f"use one of {', '.join(SUFFIXES)}")
    images = [Image.fromarray(p) for p in pictures]
    times = [MILLISECONDS] * (len(images) - 1) + [LAST_MILLISECONDS]
    more = {"lossless": True} if path.suffix == ".webp" else {"optimize": False, "disposal": 1}
    images[0].save(path, save_all=True, append_images=images[1:], duration=times, loop=0, **more)
