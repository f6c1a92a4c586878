"""Distribution measures of an arm: its slices against real ones, through one or two feature networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from volforge.metrics.distribution import (
    frechet_distance,
    gaussian_mmd,
    kernel_distance,
    real_floor,
    statistics_of,
)
from volforge.metrics.features import FeatureNetwork, cached_features
from volforge.metrics.measure import Measure, nothing
from volforge.volume.geometry import Array

REGION = "slices"


def networks(encoder: Path | None, inception_path: Path | None) -> list[FeatureNetwork]:
    """The feature networks that are there."""
    from volforge.metrics import features

    found = []
    if inception_path is not None:
        found.append(features.inception(inception_path))
    if encoder is not None:
        found.append(features.slice_encoder(encoder))
    return found


def measure_distribution(
    network: FeatureNetwork,
    synthetic: Array,
    real: Callable[[], tuple[Array, Array]],
    key: object,
    cache: Path | None,
    seed: int = 0,
) -> list[Measure]:
    """Fréchet, kernel distance and MMD of synthetic slices, with the floor that real ones reach.

    Args:
        network: The feature network.
        synthetic: Slices, shape (N, H, W), 0 to 1.
        real: Makes the real slices and the subject of each; called only where the cache has no features.
        key: What the real slices are made of, for the cache.
        cache: Folder of the cache.
        seed: Of subsets and halves.
    """
    slices: dict[str, tuple[Array, Array]] = {}

    def loaded() -> tuple[Array, Array]:
        if "real" not in slices:
            slices["real"] = real()
        return slices["real"]

    of_real = cached_features(network, key, lambda: loaded()[0], cache)
    subjects = cached_features(
        FeatureNetwork("subjects", network.sha256, lambda groups: groups), key, lambda: loaded()[1], cache
    )
    of_synthetic = network.compute(synthetic)
    n = len(of_synthetic)
    kinds = ("frechet", "kernel", "mmd")
    if min(n, len(of_real)) < 2:
        return [nothing(network.measure(k), "undefined", REGION, n) for k in kinds]
    values = {
        "frechet": frechet_distance(statistics_of(of_real), statistics_of(of_synthetic)),
        "kernel": kernel_distance(of_real, of_synthetic, seed)[0],
        "mmd": gaussian_mmd(of_real, of_synthetic, seed=seed),
    }
    found = [Measure(network.measure(k), v, REGION, "ok", n) for k, v in values.items()]
    floor, size = real_floor(of_real, subjects, seed)
    name = f"{network.measure('frechet')}_floor"
    return [*found, Measure(name, floor, REGION, "undefined" if np.isnan(floor) else "ok", size)]


def subject_numbers(subjects: Sequence[str], counts: Sequence[int]) -> Array:
    """The subject of every slice as a number."""
    names = sorted(set(subjects))
    return np.repeat([names.index(s) for s in subjects], counts)


def one_size(parts: Iterable[Array]) -> Array:
    """Square slices of several sources in one array: others are resized by area to the first one's size."""
    stacks = [p for p in parts if len(p)]
    side = stacks[0].shape[1]
    if all(p.shape[1] == side for p in stacks):
        return np.concatenate(stacks)
    import torch
    from torch.nn import functional

    return np.concatenate(
        [
            functional.interpolate(torch.from_numpy(p)[:, None], size=(side, side), mode="area")[:, 0].numpy()
            for p in stacks
        ]
    )
