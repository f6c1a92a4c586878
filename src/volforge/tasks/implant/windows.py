"""Sliding windows about a coarse implant: patches at the scan's voxels that know what lies around them.

The published patches do not see the global shape. Here it stands beside the defective skull, in channels of its own:
the probability that a coarse model gives, the skull mirrored at its own plane of symmetry, and the kriged skull.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from volforge.tasks.implant.grids import cut
from volforge.tasks.implant.mirror import mirrored, reflection
from volforge.tasks.implant.settings import ImplantSettings
from volforge.volume.geometry import Affine, Array, Grid
from volforge.volume.morphology import dilate

SIGMA = 0.125  # of a window's side: width of the Gaussian weights
LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class Context:
    """A skull, and what windows see beside it.

    Attributes:
        defective: (X, Y, Z) bone, boolean.
        coarse: Probability of the coarse model, float32.
        plane: Reflection in voxels at the skull's plane of symmetry; None where no channel asks for it.
        grid: Of the volumes.
        kriged: Probability of the kriged skull, float32; None where no channel asks for it.
    """

    defective: Array
    coarse: Array
    plane: Affine | None
    grid: Grid
    kriged: Array | None = None


def context_of(
    settings: ImplantSettings, defective: Array, grid: Grid, coarse: Array, kriged: Array | None = None
) -> Context:
    """The context of a skull."""
    plane = reflection(defective, grid) if "mirror" in settings.wants else None
    return Context(defective, coarse, plane, grid, kriged)


def image_of(settings: ImplantSettings, context: Context, start: Array, size: tuple[int, int, int]) -> Array:
    """What a network sees of a window, (channels, X, Y, Z) float32: the defective skull, then the model's channels."""
    found = [cut(context.defective, start, size).astype(np.float32)]
    for name in settings.wants:
        if name == "mirror":
            assert context.plane is not None
            found.append(mirrored(context.defective, context.plane, start, size))
        elif name == "kriged":
            assert context.kriged is not None
            found.append(cut(context.kriged, start, size))
        else:
            found.append(cut(context.coarse, start, size))
    return np.stack(found)


def near_coarse(settings: ImplantSettings, context: Context) -> Array:
    """Where windows look: about the coarse implant; everywhere where there is none."""
    implant = (context.coarse > 0.5) & ~context.defective
    if not implant.any():
        return np.ones(context.defective.shape, bool)
    return dilate(implant, float(settings.implant["near_mm"]), context.grid.spacing_mm)


def window_starts(shape: Sequence[int], size: Sequence[int], overlap: float) -> list[tuple[int, int, int]]:
    """First voxels of windows that cover a volume; where it is smaller than a window, one about its middle."""
    along = []
    for n, w in zip(shape, size, strict=True):
        if n <= w:
            along.append([(n - w) // 2])
            continue
        step = max(1, int(w * (1 - overlap)))
        count = -(-(n - w) // step) + 1
        along.append([min(k * step, n - w) for k in range(count)])
    return [(i, j, k) for i in along[0] for j in along[1] for k in along[2]]


def gaussian_weights(size: Sequence[int]) -> Array:
    """Weights of a window, largest in its middle, float32; nowhere nothing."""
    found = np.ones((), np.float64)
    for n in size:
        x = (np.arange(n) - (n - 1) / 2) / (SIGMA * n)
        found = found[..., None] * np.exp(-0.5 * x**2)
    return np.maximum(found, LEAST_WEIGHT).astype(np.float32)


def windowed(
    answer: Callable[[Tensor], Tensor], settings: ImplantSettings, context: Context, overlap: float, device: str
) -> Array:
    """The probability of a model about the coarse implant; the coarse one's elsewhere counts as nothing.

    Windows that miss the neighbourhood of the coarse implant are not looked at.

    Returns:
        (X, Y, Z), float32.
    """
    size, near = settings.patch, near_coarse(settings, context)
    total, weight = (np.zeros(near.shape, np.float32) for _ in range(2))
    weights = gaussian_weights(size)
    for start in window_starts(near.shape, size, overlap):
        here = tuple(slice(max(0, s), min(s + w, n)) for s, w, n in zip(start, size, near.shape, strict=True))
        if not near[here].any():
            continue
        there = tuple(slice(h.start - s, h.stop - s) for h, s in zip(here, start, strict=True))
        image = torch.from_numpy(image_of(settings, context, np.array(start), size))[None].to(device)
        found = answer(image)[0, 0].float().cpu().numpy()
        total[here] += (found * weights)[there]
        weight[here] += weights[there]
    return np.where(near & (weight > 0), total / np.maximum(weight, LEAST_WEIGHT), np.float32(0))
