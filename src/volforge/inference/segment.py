"""A whole scan segmented: cut as in training, joints found, windows, and back onto the scan's grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter

from volforge.config.models import Recipe, RegionRecipe
from volforge.errors import ScanError, VolforgeError
from volforge.inference.joints import Joint, find_joints
from volforge.inference.model import Model
from volforge.inference.windows import OUTSIDE, probabilities
from volforge.volume.cut import Placement, region_placement, take
from volforge.volume.cut_scan import cut_image, outside_of
from volforge.volume.geometry import Array, Grid
from volforge.volume.resample import resample_to
from volforge.volume.store import normalise

AXES = {"x": 0, "y": 1, "z": 2}
LEAST = 1e-7  # probabilities below it count as it, in cross-entropies


@dataclass(frozen=True)
class Scan:
    """An imported scan.

    Attributes:
        image: Canonical image.
        body: Body mask or None.
        grid: Its grid.
        record: record.json.
        labels: Reference labels, for cross-entropies; None where there are none.
    """

    image: Array
    body: Array | None
    grid: Grid
    record: Mapping[str, Any]
    labels: Array | None = None


@dataclass
class Segmented:
    """A segmented scan.

    Attributes:
        labels: Label map on the scan's grid.
        confidence: Probability of the predicted label, 32 bit.
        background: Probability of no structure, the least of all regions that saw the voxel.
        joints: Joints that were looked for, in voxels of the scan.
        boxes: Grid of the box of each side that was looked into.
        cross_entropy: (structure, side, nats, nats of the doubled softmax) over the region; where labels are known.
    """

    labels: Array
    confidence: Array
    background: Array
    joints: list[Joint] = field(default_factory=list)
    boxes: dict[str, Grid] = field(default_factory=dict)
    cross_entropy: list[tuple[str, str, float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Cut:
    """A scan as a model sees it: values from -1 to 1, where they lie, and the body mask on that grid."""

    image: Array
    placement: Placement
    body: Array | None


def cut_for(model: Model, scan: Scan) -> Cut:
    """Cut a scan by a model's recipe, the same way as for training.

    Raises:
        ScanError: The recipe lies around structures, which an unlabelled scan does not show.
    """
    recipe: Recipe = TypeAdapter(Recipe).validate_python(dict(model.settings.recipe_settings))
    if not isinstance(recipe, RegionRecipe) or not isinstance(recipe.around, str):
        raise ScanError(
            "the model's recipe lies around labels, which a new scan does not have",
            str(model.folder),
            "train it on a recipe `around: image` or `body`, with a localiser where regions must be small",
        )
    body = np.asarray(scan.body, np.uint8) if scan.body is not None else None
    if body is None and scan.record["modality"] == "mask":
        body = (scan.image > 0).astype(np.uint8)
    placement = region_placement(scan.grid, recipe, body, None, {})
    outside = outside_of(scan.record, scan.image)
    focus = scan.body
    stored, values = cut_image(scan.image, focus, scan.grid, placement, dict(scan.record), recipe, outside)
    cut_body = take(body, scan.grid, placement, outside=0, kind="mask") > 0 if body is not None else None
    return Cut(normalise(stored, values), placement, cut_body)


def locate(localiser: Model, scan: Scan, device: str = "cpu") -> list[Joint]:
    """The joints of a scan, centres in voxels of the scan's grid.

    Raises:
        VolforgeError: The model finds no joints.
    """
    if localiser.settings.kind != "localiser":
        raise VolforgeError("this model is no localiser", str(localiser.folder), "pass the model that finds the joints")
    cut = cut_for(localiser, scan)
    image = torch.from_numpy(np.ascontiguousarray(cut.image))[None, None].to(device)
    with torch.inference_mode():
        precision = localiser.settings.training["precision"]
        found = probabilities(localiser.network, image, localiser.about["patch"], overlap=0.25, precision=precision)
    grid = cut.placement.grid
    joints = find_joints(found[0, 1].cpu().numpy(), cut.body, localiser.about["prior"], grid.spacing_mm)
    there = np.linalg.inv(scan.grid.affine) @ grid.affine
    moved = [(there @ np.array([*j.centre, 1.0]))[:3] for j in joints]
    return [
        Joint(j.side, (float(m[0]), float(m[1]), float(m[2])), j.origin) for j, m in zip(joints, moved, strict=True)
    ]


def segment(
    models: Sequence[Sequence[Model]],
    scan: Scan,
    *,
    localiser: Model | None = None,
    window: Sequence[int] | None = None,
    overlap: float = 0.5,
    flips: Sequence[str] = (),
    keep: Mapping[str, float] | None = None,
    device: str = "cpu",
) -> Segmented:
    """Segment a scan.

    Args:
        models: Models whose structures are joined; each is an ensemble of one or more of the same kind.
        scan: The scan.
        localiser: Finds the joints; needed by models with boxes.
        window: Voxels that a network sees at a time; None: its training patch.
        overlap: Of sliding windows.
        flips: Axes (x, y, z) whose flips are averaged.
        keep: Share of the largest component that a component needs to stay, by structure; 1 where not named.
        device: Where the networks are.

    Raises:
        VolforgeError: A model needs a localiser, or models of an ensemble differ.
    """
    largest = max(i for group in models for c in group[0].settings.classes for i in c.ids.values())
    shape = scan.grid.shape
    result = Segmented(
        np.zeros(shape, np.uint8 if largest < 256 else np.uint16, order="F"),
        np.ones(shape, np.float32, order="F"),
        np.ones(shape, np.float32, order="F"),
    )
    claimed = np.zeros(shape, np.float32, order="F")
    if any(group[0].settings.region is not None for group in models):
        if localiser is None:
            raise VolforgeError(
                "the model looks into boxes about the joints and needs a localiser",
                str(models[0][0].folder),
                "pass --localiser FOLDER",
            )
        result.joints = locate(localiser, scan, device)
    for group in models:
        if any(m.sees != group[0].sees for m in group):
            raise VolforgeError(
                "models of an ensemble must have the same structures, recipe and patch",
                ", ".join(str(m.folder) for m in group),
                "name models of one arm, of several folds or seeds",
            )
        cut = cut_for(group[0], scan)
        look = _Look(window or group[0].about["patch"], overlap, [AXES[a] for a in flips], device)
        for model in group:
            divisor = np.broadcast_to(getattr(model.network, "divisor", 1), 3)
            if any(n % d for n, d in zip(look.window, divisor, strict=True)):
                raise VolforgeError(
                    f"the window {list(look.window)} is no multiple of {divisor.tolist()}",
                    str(model.folder),
                    "set `inference.window` (or --window) accordingly, or leave it out",
                )
        if group[0].settings.region is None:
            whole = Grid(cut.placement.grid.shape, cut.placement.grid.affine)
            _one_region(group, scan, cut, np.zeros(3, int), whole.shape, "", result, claimed, look)
            continue
        for joint in result.joints:
            size = group[0].settings.region["size"]
            there = np.linalg.inv(cut.placement.grid.affine) @ scan.grid.affine
            offset = np.array(group[0].settings.region["offset_mm"]) * ([-1, 1, 1] if joint.side == "right" else 1)
            centre = (there @ np.array([*joint.centre, 1.0]))[:3] + offset / np.array(cut.placement.grid.spacing_mm)
            start = np.rint(centre - (np.array(size) - 1) / 2).astype(int)
            _one_region(group, scan, cut, start, size, joint.side, result, claimed, look)
    _keep_components(result, models, keep or {})
    return result


@dataclass(frozen=True)
class _Look:
    """How networks look at a region."""

    window: Sequence[int]
    overlap: float
    flips: Sequence[int]
    device: str


def _one_region(
    group: Sequence[Model],
    scan: Scan,
    cut: Cut,
    start: Array,
    size: Sequence[int],
    side: str,
    result: Segmented,
    claimed: Array,
    look: _Look,
) -> None:
    """Look into one region and lay what was seen onto the scan's grid, where it is surer than what lies there."""
    from volforge.inference.padded import padded

    settings = group[0].settings
    image = np.full(tuple(size), OUTSIDE, np.float32)
    inner, where = padded(cut.image, start, size)
    image[where] = inner
    turned = bool(settings.region and settings.region["mirror"] and side == "right")
    seen = torch.from_numpy(np.ascontiguousarray(image[::-1] if turned else image))[None, None].to(look.device)
    with torch.inference_mode():
        networks = [m.network for m in group]
        precision = settings.training["precision"]
        found = probabilities(networks, seen, look.window, overlap=look.overlap, flips=look.flips, precision=precision)[
            0
        ]
        found = found.flip(1) if turned else found
    share = found.cpu().numpy()
    grid = cut.placement.grid
    box = grid.part(tuple(slice(a, a + n) for a, n in zip(start.tolist(), size, strict=True)))
    if side:
        result.boxes[side] = box
    ids = [c.ids[side] if side else next(iter(c.ids.values())) for c in settings.classes]
    if scan.labels is not None:
        reference = resample_to(scan.labels, scan.grid, box, nearest=True, outside=0)
        for k, (c, i) in enumerate(zip(settings.classes, ids, strict=True)):
            result.cross_entropy.append((c.structure, side or c.side, *cross_entropies(share[k + 1], reference == i)))
    target, part = _target(scan.grid, box, cut.placement, start)
    if target is None:
        return
    best, top = np.zeros(target.shape, np.uint8), np.zeros(target.shape, np.float32)
    background = _onto(share[0], box, target, part, 1.0)
    for k in range(len(ids)):
        own = _onto(share[k + 1], box, target, part, 0.0)
        surer = own > top
        best[surer], top[surer] = k + 1, own[surer]
    is_one = top > background
    there = tuple(slice(o, o + n) for o, n in zip(part.offset, target.shape, strict=True))
    surer = is_one & (top > claimed[there])
    result.labels[there][surer] = np.array([0, *ids], result.labels.dtype)[best[surer]]
    claimed[there][surer] = top[surer]
    least = np.minimum(result.background[there], background)
    result.background[there] = least
    before = np.where(result.labels[there] > 0, result.confidence[there], least)
    result.confidence[there] = np.where(surer, top, before)


@dataclass(frozen=True)
class _Part:
    """First voxel on the scan's grid of the part that a box covers; and in the box, where voxels are the scan's."""

    offset: tuple[int, int, int]
    inner: tuple[slice, ...] | None


def _target(scan: Grid, box: Grid, placement: Placement, start: Array) -> tuple[Grid | None, _Part]:
    """The part of the scan's grid that a box covers."""
    if placement.offset is not None:  # the cut's voxels are the scan's
        first = np.array(placement.offset) + start
        low, high = np.maximum(first, 0), np.minimum(first + np.array(box.shape), scan.shape)
        inner: tuple[slice, ...] | None = tuple(
            slice(a - f, b - f) for a, b, f in zip(low.tolist(), high.tolist(), first.tolist(), strict=True)
        )
    else:
        corners = np.array(np.meshgrid(*[[-0.5, n - 0.5] for n in box.shape])).reshape(3, -1)
        there = np.linalg.inv(scan.affine) @ box.affine
        placed = there[:3, :3] @ corners + there[:3, 3:]
        low = np.maximum(np.ceil(placed.min(axis=1) - 1e-6), 0).astype(int)
        high = np.minimum(np.floor(placed.max(axis=1) + 1e-6) + 1, scan.shape).astype(int)
        inner = None
    if (high <= low).any():
        return None, _Part((0, 0, 0), None)
    x, y, z = low.tolist()
    target = scan.part(tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True)))
    return target, _Part((x, y, z), inner)


def _onto(values: Array, box: Grid, target: Grid, part: _Part, outside: float) -> Array:
    if part.inner is not None:
        return values[part.inner]
    return resample_to(np.asfortranarray(values), box, target, nearest=False, outside=outside)


def cross_entropies(probability: Array, reference: Array) -> tuple[float, float]:
    """Mean cross-entropy of a structure against all else, in nats: of the softmax, and of the softmax of it once more.

    Args:
        probability: Of the structure, any shape.
        reference: Where it is.
    """
    right = np.where(reference, probability, 1 - probability).astype(np.float64)
    plain = float(-np.log(np.maximum(right, LEAST)).mean())
    doubled = float(np.log1p(np.exp(1 - 2 * right)).mean())  # softmax of (right, 1 - right)
    return plain, doubled


def _keep_components(result: Segmented, models: Sequence[Sequence[Model]], keep: Mapping[str, float]) -> None:
    """Leave the components that anatomy allows: by structure, those of a share of the largest one's volume."""
    import cc3d

    from volforge.volume.boxes import structure_boxes

    for group in models:
        for c in group[0].settings.classes:
            share = keep.get(c.structure, 1.0)
            for identifier in c.ids.values():
                box = structure_boxes(result.labels, [identifier]).get(identifier)
                if box is None or share <= 0:
                    continue
                parts, count = cc3d.connected_components(
                    np.ascontiguousarray(result.labels[box] == identifier), connectivity=26, return_N=True
                )
                if count < 2:
                    continue
                sizes = np.bincount(parts.ravel())
                sizes[0] = 0
                small = np.flatnonzero(sizes < share * sizes.max())
                if share >= 1:
                    small = np.flatnonzero(np.arange(len(sizes)) != sizes.argmax())
                lost = np.isin(parts, small[small > 0])
                result.labels[box][lost] = 0
                result.confidence[box][lost] = result.background[box][lost]
