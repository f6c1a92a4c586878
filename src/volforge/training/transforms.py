"""What an augmentation is made of: MONAI's transforms of volumes. Importing this module imports MONAI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.data import set_track_meta
from monai.transforms import (
    CenterSpatialCropd,
    Compose,
    OneOf,
    Rand3DElasticd,
    RandAdjustContrastd,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandomizableTransform,
    RandScaleIntensityd,
    RandShiftIntensityd,
    RandSimulateLowResolutiond,
    Transform,
)

AXES = {"x": 0, "y": 1, "z": 2}
DEGREES = np.pi / 180


class _Contrast(RandomizableTransform, Transform):
    """The published contrast: about the mean by a factor from 1 to 3, clipped to [-1, 1]."""

    def __init__(self, prob: float):
        RandomizableTransform.__init__(self, prob)

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        self.randomize(None)
        factor = float(self.R.uniform(1, 3))
        if not self._do_transform:
            return data
        image = data["image"]
        mean = image.mean()
        return {**data, "image": (mean + factor * (image - mean)).clamp(-1, 1)}


def published(keys: Sequence[str], patch: Sequence[int]) -> Compose:
    """What the jaw-joint paper's code does: flip, a turn about one axis, mild elastic, contrast.

    The turn is up to 15 degrees about an axis drawn anew. The elastic field is white noise smoothed by 5 voxels times
    30: a deviation of 0.39 voxels, which MONAI's smoothing reaches at the same numbers.
    """
    modes = ["nearest"] * len(keys)  # order 0 for the image too, as published
    edges = ["border" if k != "labels" else "zeros" for k in keys]
    turns: list[Any] = [
        RandAffined(
            keys,
            prob=1.0,
            rotate_range=[15 * DEGREES if a == axis else 0.0 for a in range(3)],
            spatial_size=patch,
            mode=modes,
            padding_mode=edges,
        )
        for axis in range(3)
    ]
    elastic = Rand3DElasticd(
        keys,
        sigma_range=(5, 5),
        magnitude_range=(30, 30),
        prob=0.5,
        mode=["nearest" if k == "labels" else "bilinear" for k in keys],
        padding_mode="reflection",
    )
    return Compose([RandFlipd(keys, prob=0.5, spatial_axis=0), OneOf(turns), elastic, _Contrast(0.5)])


def standard(keys: Sequence[str], patch: Sequence[int], flip: Sequence[str]) -> Compose:
    """Ours, after nnU-Net: turns, scales, sometimes elastic, noise, blur, brightness, contrast, low resolution."""
    modes = ["nearest" if k == "labels" else "bilinear" for k in keys]
    edges = ["zeros" if k == "labels" else "border" for k in keys]
    x, y, z = patch
    turn, scale = [20 * DEGREES] * 3, [(-0.2, 0.25)] * 3
    affine = RandAffined(
        keys, prob=0.7, rotate_range=turn, scale_range=scale, spatial_size=patch, mode=modes, padding_mode=edges
    )
    elastic = Rand3DElasticd(
        keys, sigma_range=(5, 8), magnitude_range=(60, 160), prob=1.0, rotate_range=turn, scale_range=scale,
        spatial_size=(x, y, z), mode=modes, padding_mode=edges,
    )  # fmt: skip
    return Compose(
        [
            OneOf([affine, elastic], weights=[0.85, 0.15]),
            CenterSpatialCropd(keys, patch),
            *(RandFlipd(keys, prob=0.5, spatial_axis=AXES[a]) for a in flip),
            RandGaussianNoised("image", prob=0.1, std=0.1),
            RandGaussianSmoothd("image", prob=0.15, sigma_x=(0.3, 1), sigma_y=(0.3, 1), sigma_z=(0.3, 1)),
            RandScaleIntensityd("image", factors=0.25, prob=0.2),
            RandShiftIntensityd("image", offsets=0.1, prob=0.2),
            RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.5)),
            RandSimulateLowResolutiond("image", prob=0.1, zoom_range=(0.5, 1.0)),
        ]
    )


def light(keys: Sequence[str], patch: Sequence[int], flip: Sequence[str]) -> Compose:
    """For short trainings, which strong augmentation slows: small turns and scales, little noise and contrast."""
    x, y, z = patch
    affine = RandAffined(
        keys, prob=0.7, rotate_range=[10 * DEGREES] * 3, scale_range=[0.1] * 3, spatial_size=(x, y, z),
        mode=["nearest" if k == "labels" else "bilinear" for k in keys],
        padding_mode=["zeros" if k == "labels" else "border" for k in keys],
    )  # fmt: skip
    return Compose(
        [
            affine,
            CenterSpatialCropd(keys, patch),
            *(RandFlipd(keys, prob=0.5, spatial_axis=AXES[a]) for a in flip),
            RandGaussianNoised("image", prob=0.1, std=0.05),
            RandScaleIntensityd("image", factors=0.2, prob=0.3),
            RandAdjustContrastd("image", prob=0.2, gamma=(0.8, 1.25)),
        ]
    )


def transform_of(kind: str, keys: Sequence[str], patch: Sequence[int], flip: Sequence[str]) -> Compose:
    """The augmentation of a name, of one sample: a dict of tensors (C, X, Y, Z) without metadata.

    Args:
        kind: `published`, `light` or `standard`.
        keys: `image`, `labels` and perhaps `distance`.
        patch: Size of what comes out.
        flip: Axes, for `light` and `standard`.
    """
    set_track_meta(False)
    if kind == "published":
        return published(keys, patch)
    return {"light": light, "standard": standard}[kind](keys, patch, flip)
