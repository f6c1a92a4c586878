"""Augmentation by MONAI on the device, drawn from (seed, index) alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
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
from torch import Tensor

AXES = {"x": 0, "y": 1, "z": 2}
DEGREES = np.pi / 180
MARGIN = 0.15  # share of the patch that is read beyond it on each side, for what turns into view


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


OURS = {"light": light, "standard": standard}


class Augmentation:
    """Augments the samples of a batch, each with random numbers of its own.

    Args:
        kind: `none`, `published`, `light` or `standard`.
        patch: Size of what comes out.
        keys: `image`, `labels` and perhaps `distance`.
        flip: Axes, for `light` and `standard`.
        seed: With the sample's index it decides everything that is drawn.
    """

    def __init__(self, kind: str, patch: Sequence[int], keys: Sequence[str], flip: Sequence[str], seed: int):
        set_track_meta(False)
        self.kind, self.patch, self.seed, self.keys = kind, tuple(patch), seed, list(keys)
        self.transform: Compose | None = None
        if kind == "published":
            self.transform = published(self.keys, self.patch)
        elif kind in OURS:
            self.transform = OURS[kind](self.keys, self.patch, flip)

    @property
    def size(self) -> tuple[int, ...]:
        """Voxels that a sample must have before it is augmented."""
        if self.kind not in OURS:
            return self.patch
        return tuple(n + 2 * int(np.ceil(MARGIN * n)) for n in self.patch)

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Augment a batch of (N, C, X, Y, Z) tensors; `index` holds the samples' numbers."""
        if self.transform is None:
            return batch
        made = []
        for n, index in enumerate(batch["index"].tolist()):
            state = np.random.SeedSequence([self.seed, index]).generate_state(1)[0]
            self.transform.set_random_state(seed=int(state))
            one = {k: batch[k][n] for k in self.keys}
            one["labels"] = one["labels"].to(torch.float32)
            made.append(self.transform(one))
        result = {k: torch.stack([torch.as_tensor(m[k]) for m in made]) for k in self.keys}
        return {**batch, **result}
