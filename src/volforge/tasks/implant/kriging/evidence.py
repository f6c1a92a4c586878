"""Whether a skull is symmetric, by what is seen of it: the likelihood of its bone under two covariances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from volforge.tasks.implant.kriging.covariance import Covariance
from volforge.tasks.implant.kriging.solve import Field, factor_of, grid_of
from volforge.volume.geometry import Array

EVERY = 6


def log_evidence(field: Field, observed: Array, trusted: Array) -> float:
    """Logarithm of the density of what is trusted, on every sixth pixel, less a constant.

    Args:
        field: Mean and covariance.
        observed: (2, N, N) radii.
        trusted: (N, N) pixels whose bone is believed; finite there.
    """
    from scipy.linalg import solve_triangular

    seen = np.stack([trusted & field.region & grid_of(field.disc, EVERY)] * 2)
    places = field.places(seen)
    factor, _ = factor_of(field.covariance.between(places, places), field.covariance.nugget_mm)
    half = solve_triangular(factor, (observed - field.mean)[seen], lower=True, check_finite=False)
    return float(-0.5 * half @ half - np.log(np.diag(factor)).sum())


def likelier(field: Field, other: Covariance, observed: Array, trusted: Array) -> Field:
    """The field, with the other covariance where that explains this skull better."""
    plain = replace(field, covariance=other)
    better = log_evidence(plain, observed, trusted) > log_evidence(field, observed, trusted)
    return plain if better else field
