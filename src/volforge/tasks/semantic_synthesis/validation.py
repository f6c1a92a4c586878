"""What a generator is worth on validation subjects while it trains: distance of its slices to real ones, and pairs."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from volforge import weights
from volforge.judging.slice_encoder import train_slice_encoder
from volforge.losses.outline import published_mask_loss
from volforge.metrics.distribution import frechet_distance, statistics_of
from volforge.metrics.features import lpips_by, lpips_network
from volforge.metrics.ssim import gaussian_window, ssim
from volforge.tasks.semantic_synthesis.latents import latent
from volforge.tasks.semantic_synthesis.paint import paint
from volforge.training.slices import Slices
from volforge.volume.geometry import Array

ENCODER_STEPS = 100
MOST = 256  # slices that are painted at each validation
MOST_LPIPS = 32  # of them, that AlexNet reads


class SynthesisJudge:
    """Judges a generator by validation slices that have both a label map and an image.

    The encoder of the Fréchet distance learns from real training images, once, from the seed alone; it is none of the
    encoders that the study's table is made with.

    Args:
        real: Training images.
        pairs: Label maps and images of validation subjects.
        classes: Number of classes.
        noise: Length of latents.
        seed: Of the encoder.
    """

    def __init__(self, real: Slices, pairs: Slices, classes: int, noise: int, seed: int):
        assert real.images is not None
        assert pairs.images is not None
        assert pairs.labels is not None
        chosen = np.unique(np.linspace(0, len(pairs) - 1, min(MOST, len(pairs))).round().astype(int))
        self.labels, self.images = pairs.labels[chosen], pairs.images[chosen]
        self.classes, self.noise = classes, noise
        self.encoder = train_slice_encoder(_square(_unit(real.images)), ENCODER_STEPS, seed)[0]
        self.of_real = statistics_of(self._features(self.images))
        alexnet = weights.find("alexnet")
        self.lpips = lpips_network(alexnet) if alexnet is not None else None

    def __call__(self, generator: nn.Module, device: torch.device) -> dict[str, float]:
        """`score` (minus the Fréchet distance), `frechet`, `ssim`, `psnr_db`, `rmse` and the published mask loss; with
        AlexNet's weights at hand `lpips` too, which chooses nothing.

        Values are those of the window, from 0 to 1; `rmse` and the others compare with the pair's image, which a
        generator with noise need not hit.
        """
        made = paint(generator, self.labels, self.classes, latent(max(1, self.noise), 0), device=str(device))
        frechet = frechet_distance(self.of_real, statistics_of(self._features(made)))
        a, b = _unit(made), _unit(self.images)
        body = self.labels > 0
        error = float(((a - b)[body].astype(np.float64) ** 2).mean()) if body.any() else 0.0
        axes = [np.moveaxis(v, 0, 2).astype(np.float64) for v in (a, b)]
        value, _ = ssim(axes[0], axes[1], np.moveaxis(body, 0, 2), 1.0, gaussian_window())
        return {
            "score": -frechet,
            "frechet": frechet,
            "ssim": value,
            "psnr_db": -10 * float(np.log10(max(error, 1e-12))),
            "rmse": error**0.5,
            **self._lpips(a, b),
            "published_mask": published_mask_loss(
                torch.from_numpy(made)[:, None], torch.from_numpy(self.labels.astype(np.int64))
            ),
        }

    def _lpips(self, made: Array, real: Array) -> dict[str, float]:
        """Mean LPIPS of some pairs of slices from 0 to 1; nothing without its weights."""
        if self.lpips is None:
            return {}
        some = np.unique(np.linspace(0, len(made) - 1, min(MOST_LPIPS, len(made))).round().astype(int))
        return {"lpips": float(lpips_by(self.lpips, made[some], real[some]).mean())}

    def _features(self, slices: Array) -> Array:
        """Features of slices from -1 to 1."""
        with torch.inference_mode():
            return np.asarray(self.encoder(torch.from_numpy(_unit(slices))[:, None]).numpy())


def _unit(slices: Array) -> Array:
    """Slices from -1 to 1 as 0 to 1."""
    return np.ascontiguousarray((slices + 1) / 2, np.float32)


def _square(slices: Array) -> Array:
    """Slices of 0 to 1 in the encoder's size."""
    from volforge.networks.slice_encoder import SliceEncoder

    return np.asarray(SliceEncoder.resized(torch.from_numpy(slices)[:, None])[:, 0].numpy())
