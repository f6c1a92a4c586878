"""Latents of the samples of one label map: drawn from words, own to some structures, on the way between two."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Latents:
    """What one sample of a volume is painted with.

    Attributes:
        whole: (Z,) of the whole volume.
        own: (Z,) of the structures that vary, or None: none of their own.
        grain: (Z,) that noise by pixel is drawn from.
        share: Place on the way between two latents, 0 to 1; NaN where the sample is none.
    """

    whole: Tensor
    own: Tensor | None
    grain: Tensor
    share: float = float("nan")


def latent(values: int, *words: object) -> Tensor:
    """Noise (values,) that is drawn from words alone: the same on every machine and whatever was drawn before.

    Args:
        values: Length.
        words: For example seed, scan and number of the sample.
    """
    digest = hashlib.sha256(" ".join(map(str, words)).encode()).digest()
    generator = np.random.default_rng(np.frombuffer(digest, np.uint32))
    return torch.from_numpy(generator.standard_normal(values).astype(np.float32))


def latent_hash(noise: Tensor) -> str:
    """SHA-256 of a latent's bytes, for the manifest of samples."""
    return hashlib.sha256(noise.contiguous().numpy().tobytes()).hexdigest()


def between(first: Tensor, second: Tensor, steps: int) -> list[Tensor]:
    """Latents on the way from one to another along the great circle (White, arXiv 1609.04468), both ends included.

    The length goes evenly from the first's to the second's; parallel latents are joined by a straight line.

    Args:
        first, second: (Z,).
        steps: How many, at least two.
    """
    shares = np.linspace(0, 1, steps)
    lengths = [float(v.norm()) for v in (first, second)]
    if min(lengths) == 0:
        return [first * (1 - t) + second * t for t in shares.tolist()]
    a, b = first / lengths[0], second / lengths[1]
    angle = float(torch.arccos((a @ b).clamp(-1, 1)))
    found = []
    for t in shares.tolist():
        if np.sin(angle) < 1e-6:
            turned = a * (1 - t) + b * t
        else:
            turned = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
        found.append(turned * (lengths[0] * (1 - t) + lengths[1] * t))
    return found


def latents_of(
    drawn: list[Tensor], *, length: float = 1.0, some_vary: bool = False, on_the_way: bool = False
) -> list[Latents]:
    """The latents of all samples of a volume.

    Args:
        drawn: (Z,) each, one of every sample.
        length: Latents are shortened by this factor; the grain is not.
        some_vary: Only some structures take another latent in each sample; all else, and the grain, stays that of
            the first.
        on_the_way: Samples lie between the first and the last one drawn, evenly, and share the grain of the first.
    """
    shortened = [z * length for z in drawn]
    shares = [float("nan")] * len(drawn)
    if on_the_way:
        shortened, shares = between(shortened[0], shortened[-1], len(drawn)), np.linspace(0, 1, len(drawn)).tolist()
    one_grain = some_vary or on_the_way
    return [
        Latents(
            shortened[0] if some_vary else z,
            z if some_vary else None,
            drawn[0] if one_grain else drawn[k],
            shares[k],
        )
        for k, z in enumerate(shortened)
    ]
