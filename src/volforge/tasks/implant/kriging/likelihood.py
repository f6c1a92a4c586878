"""Variances of the terms of a covariance, and the nugget, by maximum likelihood.

Steps of minorisation and maximisation for variance components: every variance is multiplied by the root of
tr(K^-1 S K^-1 K_j) / tr(K^-1 K_j), S being the covariance of the skulls (Zhou, Hu, Qiao, Cho and Sra 2019, "MM
algorithms for variance components models", equation 6). The likelihood never falls, and no variance turns negative.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from volforge.errors import VolforgeError
from volforge.tasks.implant.kriging.covariance import LENGTHS_MM, OWNERS, Covariance, matern
from volforge.volume.geometry import Array

SCATTERED = 320
PATCHES = 9
PATCH_PIXELS = 2
TURNS = 60
FIRST_MM2 = 0.1
LEAST_NUGGET_MM2 = 0.05**2
LEAST_MM2 = 1e-7
"""A term below is left out: it would cost as much as the others."""


def fitted(
    deviations: Array, points: Array, region: Array, *, symmetric: bool = True, lengths: Sequence[float] = LENGTHS_MM
) -> Covariance:
    """Fit a covariance to deviations from a mean.

    Args:
        deviations: (n, 2, N, N) of n skulls from the mean of them and their mirror images, mm, finite in the region.
        points: (N, N, 3) places of the pixels on the mean outer surface, mm.
        region: (N, N) pixels that are looked at.
        symmetric: Whether a part may be symmetric.
        lengths: Lengths of the kernels, mm.

    Returns:
        The covariance, with the gain 1.
    """
    pixels = looked_at(region)
    own = points[pixels[:, 0], pixels[:, 1]]
    values = deviations[:, :, pixels[:, 0], pixels[:, 1]].reshape(len(deviations), -1).T
    names, kernels = _kernels(own, symmetric, lengths)
    # the mean was estimated from the same skulls
    degrees = max(len(deviations) - 1, 1)
    found, nugget = np.full(len(names), FIRST_MM2), FIRST_MM2
    for _ in range(TURNS):
        live = np.flatnonzero(found > LEAST_MM2)
        whole = np.zeros((len(values), len(values)))
        for j in live:
            whole += found[j] * kernels[j]
        whole[np.diag_indices_from(whole)] += nugget
        inverse = _inverse(whole)
        solved = inverse @ values
        thin, small = inverse.astype(np.float32), solved.astype(np.float32)
        for j in live:
            seen = float(np.vdot(small, kernels[j] @ small)) / degrees
            found[j] *= np.sqrt(max(seen, 0.0) / float(np.vdot(thin, kernels[j])))
        nugget *= float(np.sqrt(np.vdot(solved, solved) / degrees / np.trace(inverse)))
        nugget = max(nugget, LEAST_NUGGET_MM2)  # skulls by formula have none, and no matrix that can be inverted
    variances = np.zeros((len(OWNERS), 2, len(lengths)))
    for (owner, part, number), variance in zip(names, found, strict=True):
        variances[owner, part, number] = variance if variance > LEAST_MM2 else 0.0
    return Covariance(variances, tuple(float(v) for v in lengths), nugget_mm=float(np.sqrt(nugget)))


def looked_at(region: Array) -> Array:
    """(n, 2) pixels of the region: some scattered, and small patches, so that all distances are seen."""
    rng = np.random.default_rng(0)
    places = np.argwhere(region)
    chosen = np.zeros(region.shape, bool)
    scattered = places[rng.choice(len(places), min(SCATTERED, len(places)), replace=False)]
    chosen[scattered[:, 0], scattered[:, 1]] = True
    for at in places[rng.choice(len(places), min(PATCHES, len(places)), replace=False)]:
        low, high = np.maximum(at - PATCH_PIXELS, 0), at + PATCH_PIXELS + 1
        chosen[low[0] : high[0], low[1] : high[1]] = True
    return np.argwhere(chosen & region)


def _kernels(
    points: Array, symmetric: bool, lengths: Sequence[float]
) -> tuple[list[tuple[int, int, int]], list[Array]]:
    """Owner, part and length of every term, and its matrix for both surfaces, float32: they are many."""
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    across = np.linalg.norm(points[:, None] - (points * [-1, 1, 1])[None], axis=-1)
    owned = (np.ones((2, 2)), np.diag([1.0, 0.0]), np.diag([0.0, 1.0]))
    names, kernels = [], []
    for number, length in enumerate(lengths):
        plain = matern(distance, length)
        parts = (plain, plain + matern(across, length)) if symmetric else (plain,)
        for part, matrix in enumerate(parts):
            for owner, block in enumerate(owned):
                names.append((owner, part, number))
                kernels.append(np.kron(block, matrix).astype(np.float32))
    return names, kernels


def _inverse(matrix: Array) -> Array:
    """Of a positive definite matrix, by its Cholesky factor.

    Raises:
        VolforgeError: It is none.
    """
    from scipy.linalg import lapack

    factor, failed = lapack.dpotrf(matrix, lower=1, overwrite_a=1)
    lower, failed_too = lapack.dpotri(factor, lower=1, overwrite_c=1)
    if failed or failed_too or not np.isfinite(lower).all():
        text = "the covariance of the skulls cannot be inverted"
        raise VolforgeError(text, "kriging", "are these complete skulls, upright, in mm, each of another head?")
    return np.tril(lower) + np.tril(lower, -1).T
