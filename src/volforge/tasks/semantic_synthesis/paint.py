"""Images of label maps by a trained generator: one latent through a volume, others in some structures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from volforge.tasks.semantic_synthesis.latents import latent_hash
from volforge.volume.geometry import Array


def grain_of(noise: Tensor, values: int, shape: tuple[int, int, int], sigma: float) -> Array:
    """Noise by pixel of a volume, drawn from its latent alone.

    Independent from pixel to pixel, of variance 1, and smooth from slice to slice by a Gaussian.

    Args:
        noise: (Z,) latent of the volume.
        values: Channels.
        shape: Slices, rows and columns.
        sigma: Of the Gaussian, in slices; 0: slices are independent.

    Returns:
        (slices, values, rows, columns) float32.
    """
    from scipy.ndimage import gaussian_filter1d

    generator = np.random.default_rng(np.frombuffer(bytes.fromhex(latent_hash(noise)), np.uint32))
    n, h, w = shape
    white = generator.standard_normal((n, values, h, w), np.float32)
    if sigma <= 0:
        return white
    reach = max(1, round(4 * sigma))
    kernel = gaussian_filter1d(np.eye(1, 2 * reach + 1, reach)[0], sigma, mode="constant")
    kernel = np.bincount(np.arange(len(kernel)) % n, kernel, n)  # in a thin volume it meets itself
    smooth = gaussian_filter1d(white, sigma, axis=0, mode="wrap")  # so that first and last slices vary as others do
    return np.asarray(smooth / np.sqrt((kernel**2).sum()), np.float32)


@torch.inference_mode()
def paint(
    generator: nn.Module,
    labels: Array,
    classes: int,
    noise: Tensor,
    own: Mapping[int, Tensor] | None = None,
    *,
    grain_from: Tensor | None = None,
    batch: int = 8,
    device: str = "cpu",
    grain_sigma: float = 1.0,
) -> Array:
    """Paint the slices of a volume.

    Args:
        generator: In evaluation mode.
        labels: (N, H, W) classes; sides that are no multiples of the generator's `divisor` are padded and cut again.
        classes: Number of classes.
        noise: (Z,) of the whole volume.
        own: Latents (Z,) of single classes, which replace it there.
        grain_from: Latent that the grain is drawn from; None: `noise`.
        batch: Slices at a time.
        device: Where it runs.
        grain_sigma: How far grain reaches from slice to slice, as in `grain_of`.

    Returns:
        (N, H, W) float32 from -1 to 1.
    """
    generator.eval().to(device)
    divisor = int(getattr(generator, "divisor", 1))
    h, w = labels.shape[1:]
    pad = (-h % divisor, -w % divisor)
    padded = np.pad(labels, ((0, 0), (0, pad[0]), (0, pad[1])))
    table = noise[None].repeat(classes, 1)
    for k, values in (own or {}).items():
        table[k] = values
    table = table.to(device)
    found = np.empty(labels.shape, np.float32)
    channels = int(getattr(generator, "grain", 0))
    a, b, c = padded.shape
    seed = noise if grain_from is None else grain_from
    grain = grain_of(seed, channels, (a, b, c), grain_sigma) if channels else None
    for start in range(0, len(labels), batch):
        part = torch.from_numpy(padded[start : start + batch].astype(np.int64)).to(device)
        given = functional.one_hot(part, classes).movedim(-1, 1).float()
        z = table[part].movedim(-1, 1) if own or grain is not None else noise[None].repeat(len(part), 1).to(device)
        if grain is not None:
            z = torch.cat([z[:, : generator.noise], torch.from_numpy(grain[start : start + batch]).to(device)], dim=1)
        image = generator(given, z)
        found[start : start + batch] = image[:, 0, :h, :w].float().cpu().numpy()
    return found
