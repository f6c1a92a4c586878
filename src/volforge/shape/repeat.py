"""The same joint scanned again: its bones on shifted voxels, or with edges where a disturbed image shows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from volforge.shape.field import near_cubic, signed_distance
from volforge.volume.boxes import bounding_box
from volforge.volume.geometry import Array, Grid
from volforge.volume.resample import resample_to


def rescanned(masks: dict[str, Array], grid: Grid, shifts: int, seed: int) -> Iterator[tuple[dict[str, Array], Grid]]:
    """Masks on shifted grids: what another scan of the same bones, a little moved, would have been labelled as.

    Args:
        masks: (X, Y, Z) bool by name.
        grid: Their grid.
        shifts: How many.
        seed: Of the shifts, uniform over one voxel.

    Yields:
        The masks of one shift and their grid.
    """
    every = np.logical_or.reduce(list(masks.values()))
    box = bounding_box(every, (3, 3, 3))
    own = grid.part(box)
    far = float(np.linalg.norm(own.extent_mm))
    fields = {}
    for name, mask in masks.items():
        fine, fine_grid = near_cubic(mask[box], own)
        field = np.clip(signed_distance(fine, fine_grid.spacing_mm), -far, far) if fine.any() else None
        fields[name] = (field, fine_grid)
    generator = np.random.default_rng(seed)
    for _ in range(shifts):
        moved = own.affine.copy()
        moved[:3, 3] += own.affine[:3, :3] @ generator.uniform(-0.5, 0.5, 3)
        onto = Grid(own.shape, moved)
        found = {}
        for name, (field, fine_grid) in fields.items():
            if field is None:
                found[name] = np.zeros(own.shape, bool)
            else:
                found[name] = resample_to(field, fine_grid, onto, nearest=False, outside=far) < 0
        yield found, onto


@dataclass(frozen=True)
class Edges:
    """Where the image decides what is bone: one voxel on both sides of a label's surface.

    Attributes:
        voxels: (X, Y, Z) bool; never another bone's voxels.
        threshold: HU half-way across the label's surface, the median over it.
    """

    voxels: Array
    threshold: float


def edges_of(mask: Array, taken: Array, image: Array) -> Edges | None:
    """The edges of a bone.

    Args:
        mask: (X, Y, Z) bool, the bone.
        taken: Voxels of other bones.
        image: CT in HU on the same grid.

    Returns:
        None where the bone is nowhere brighter than what lies around it.
    """
    rim = np.zeros(mask.shape, bool)
    halves = []
    for axis in range(3):
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        for a, b in ((tuple(low), tuple(high)), (tuple(high), tuple(low))):
            edge = mask[a] & ~mask[b] & ~taken[b]
            rim[a] |= edge
            rim[b] |= edge
            inner, outer = image[a][edge], image[b][edge]
            halves.append(((inner + outer) / 2)[inner > outer])
    every = np.concatenate(halves)
    return Edges(rim, float(np.median(every))) if len(every) else None


def relabelled(masks: dict[str, Array], image: Array, edges: dict[str, Edges | None], fixed: str) -> dict[str, Array]:
    """Bones as an image shows their edges: what a threshold half-way between bone and gap would have labelled.

    Args:
        masks: (X, Y, Z) bool by name.
        image: CT in HU on their grid, perhaps with noise or an offset.
        edges: By name, from the image as it was; a bone without edges stays as it is.
        fixed: Name of bone that is not labelled anew.

    Returns:
        Masks by name. A voxel that two bones claim stays with its owner, else it is the one's that is named first.
    """
    found = {}
    for name, mask in masks.items():
        own = edges.get(name)
        found[name] = mask if name == fixed or own is None else np.where(own.voxels, image >= own.threshold, mask)
    names = list(masks)
    for k, name in enumerate(names):
        for other in names[k + 1 :]:
            both = found[name] & found[other]
            found[other] = found[other] & ~(both & ~masks[other])
            found[name] = found[name] & ~(both & masks[other])
    return found


def disturbed(image: Array, noise_hu: float, noises: int, offset_hu: float, seed: int) -> dict[str, list[Array]]:
    """The image as it is and as other scans might show it.

    Args:
        image: CT in HU.
        noise_hu: Standard deviation of the white noise that is added.
        noises: How often.
        offset_hu: Calibration error; 0: none.
        seed: Of the noise.

    Returns:
        `noise`: images with noise; `offset`: the image lowered, as it is, and raised.
    """
    generator = np.random.default_rng([seed, 1])
    found: dict[str, list[Array]] = {}
    if noises:
        found["noise"] = [image + noise_hu * generator.standard_normal(image.shape, np.float32) for _ in range(noises)]
    if offset_hu:
        found["offset"] = [image - np.float32(offset_hu), image, image + np.float32(offset_hu)]
    return found
