"""Segmentation without learning: threshold and components, and the mean label map of the training scans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from volforge.baselines.boxes import box_of, carried, common_shape, whole_box
from volforge.volume.boxes import structure_boxes
from volforge.volume.geometry import Array
from volforge.volume.morphology import largest_component

Fractions = tuple[tuple[float, float], ...]


def mean_labels(training: Iterable[tuple[Array, Array]], ids: Sequence[int]) -> tuple[Array, Array]:
    """The most frequent label at each place of the body's box, on a common grid.

    Args:
        training: Label map and body mask of every training scan.
        ids: Ids to predict.

    Returns:
        Label map, and the share of training scans that agree with it (confidence, 0 to 1), both (X, Y, Z).
    """
    votes: Array = np.zeros(0, np.uint16)
    n = 0
    for labels, body in training:
        box = box_of(body)
        if not n:
            votes = np.zeros((len(ids), *common_shape(box, len(ids))), np.uint16)
        part = carried(labels, box, whole_box(votes.shape[1:]))
        for k, i in enumerate(ids):
            votes[k] += part == i
        n += 1
    background = n - votes.sum(axis=0, dtype=np.int64)
    best = votes.argmax(axis=0)
    top = np.take_along_axis(votes, best[None], axis=0)[0]
    wins = top > background
    chosen: Array = np.where(wins, np.asarray(ids)[best], 0).astype(_dtype(ids))
    return chosen, (np.maximum(top, background) / max(n, 1)).astype(np.float32)


def laid_on(prior: tuple[Array, Array], body: Array) -> tuple[Array, Array]:
    """Mean labels and their confidence on the grid of a scan, stretched onto its body's box."""
    onto = box_of(body)
    labels, confidence = np.zeros(body.shape, prior[0].dtype), np.ones(body.shape, np.float32)
    labels[onto] = carried(prior[0], whole_box(prior[0].shape), onto)
    confidence[onto] = carried(prior[1], whole_box(prior[1].shape), onto)
    return labels, confidence


def mean_boxes(training: Iterable[tuple[Array, Array]], ids: Sequence[int]) -> dict[int, Fractions]:
    """Mean box of every structure as fractions of the body's box.

    Args:
        training: Label map and body mask of every training scan.
        ids: Ids to look for.
    """
    found: dict[int, list[Array]] = {}
    for labels, body in training:
        whole = box_of(body)
        for i, box in structure_boxes(labels, ids).items():
            parts = [
                ((b.start - w.start) / (w.stop - w.start), (b.stop - w.start) / (w.stop - w.start))
                for b, w in zip(box, whole, strict=True)
            ]
            found.setdefault(i, []).append(np.array(parts))
    means = {i: np.mean(boxes, axis=0) for i, boxes in found.items()}
    return {i: tuple((float(a), float(b)) for a, b in m) for i, m in means.items()}


def threshold_components(image: Array, body: Array, boxes: Mapping[int, Fractions], threshold: float) -> Array:
    """Bright voxels inside the mean box of each structure; the largest component of them.

    Smaller structures choose first, so that a box inside another keeps its own.

    Args:
        image: Values, shape (X, Y, Z).
        body: Body mask.
        boxes: Mean boxes from `mean_boxes`.
        threshold: Voxels above it are bright.

    Returns:
        Label map on the same grid.
    """
    whole = box_of(body)
    labels: Array = np.zeros(image.shape, _dtype(list(boxes)))
    for i, fractions in sorted(boxes.items(), key=lambda item: (_size(item[1]), item[0])):
        box = tuple(
            slice(
                max(0, round(w.start + a * (w.stop - w.start))),
                min(n, max(round(w.start + a * (w.stop - w.start)) + 1, round(w.start + b * (w.stop - w.start)))),
            )
            for (a, b), w, n in zip(fractions, whole, image.shape, strict=True)
        )
        bright = (image[box] > threshold) & (labels[box] == 0)
        if bright.any():
            labels[box][largest_component(bright)] = i
    return labels


def _size(fractions: Fractions) -> float:
    return float(np.prod([b - a for a, b in fractions]))


def _dtype(ids: Sequence[int]) -> type:
    return np.uint8 if max(ids, default=0) < 256 else np.uint16
