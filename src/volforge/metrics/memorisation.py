"""Whether a generator repeats its training images: synthetic ones should be no nearer to them than to others.

Source: the nearest-neighbour adversarial accuracy of Yale et al., Neurocomputing 416, 244 (2020), reduced to one share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from volforge.volume.geometry import Array

SIDE = 32  # pixels that slices are averaged to before they are compared


@dataclass(frozen=True)
class Memorisation:
    """Synthetic slices against training slices and as many held-out ones.

    Attributes:
        share: Of synthetic slices that lie nearer to a training slice; 0.5 where nothing was learnt by heart.
        distance_ratio: Median distance to the nearest training slice over that to the nearest held-out one; 1 is right.
        nearest: Index of the nearest training slice of every synthetic one.
        distance: (N,) root mean square difference to it.
        n: Slices of each real set that were compared.
    """

    share: float
    distance_ratio: float
    nearest: Array
    distance: Array
    n: int


def memorisation(synthetic: Array, training: Array, held_out: Array, seed: int = 0) -> Memorisation:
    """Compare synthetic slices with training and held-out ones.

    Both real sets are cut down to the same size, since a larger one has nearer neighbours by chance alone.

    Args:
        synthetic, training, held_out: (N, H, W) slices of one size and window.
        seed: Of the choice among the larger set.

    Returns:
        NaN where one of the sets is empty.
    """
    count = min(len(training), len(held_out))
    if not count or not len(synthetic):
        return Memorisation(math.nan, math.nan, np.zeros(0, int), np.zeros(0), count)
    generator = np.random.default_rng(seed)
    chosen = [np.sort(generator.choice(len(v), count, replace=False)) for v in (training, held_out)]
    made = _vectors(synthetic)
    of_training, of_others = (_vectors(v[c]) for v, c in zip((training, held_out), chosen, strict=True))
    near, which = _nearest(made, of_training)
    far, _ = _nearest(made, of_others)
    ties = np.isclose(near, far)
    share = float(np.where(ties, 0.5, near < far).mean())
    beyond = float(np.median(far))
    return Memorisation(share, float(np.median(near)) / beyond if beyond else math.nan, chosen[0][which], near, count)


def small(slices: Array) -> Array:
    """Slices (N, H, W) of at most 32 x 32 pixels, by area."""
    import torch
    from torch.nn import functional

    if max(slices.shape[1:]) <= SIDE:
        return slices
    shown = torch.from_numpy(np.ascontiguousarray(slices, np.float32))[:, None]
    return np.asarray(functional.interpolate(shown, size=(SIDE, SIDE), mode="area")[:, 0].numpy())


def _vectors(slices: Array) -> Array:
    """The same as vectors."""
    return small(slices).reshape(len(slices), -1).astype(np.float64)


def _nearest(points: Array, others: Array) -> tuple[Array, Array]:
    """Root mean square difference to the nearest of others, and which that is."""
    from scipy.spatial import cKDTree

    distance, which = cKDTree(others).query(points)
    return np.asarray(distance / math.sqrt(points.shape[1])), np.asarray(which)
