"""Terms of structure that an image and its translation share, inside of the body.

None may be driven to its best value: that rewards a copy. Of 58 true pairs of head slices the gradients correlate by
.46, the MIND distance is .27, the mutual information 1.10; a copy has 1, 0 and 2. So a term is held to its level on
true pairs, found by the same function on the same grid: `hinged`. And terms are taken 8 mm inside of the outline
(`masked.inside`), without which a constant does as well.

All give one value for each sample that has 16 pixels or more in its mask, (K,), K = 0 where there is none.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from volforge.losses.masked import flat, joint_moments, known, mean_of

ROUND = 1e-6  # under the root of gradients: a root of 0 has none
NEIGHBOURS = ((0, 1), (1, 0), (0, -1), (-1, 0))


def hinged(term: Tensor, level: float) -> Tensor:
    """|term - level|, mean over the samples; 0 where there is none.

    Args:
        term: What one of the terms below gives, or a number.
        level: Mean of the same term over true pairs, of training subjects.
    """
    return mean_of((term - level).abs())


def gradient_magnitude(image: Tensor) -> Tensor:
    """Length of the gradient by central differences, per two pixels; edges are repeated.

    Args:
        image: (N, C, H, W).

    Returns:
        (N, C, H, W), above 0.
    """
    x = functional.pad(image.float(), (1, 1, 1, 1), mode="replicate")
    dy, dx = x[..., 2:, 1:-1] - x[..., :-2, 1:-1], x[..., 1:-1, 2:] - x[..., 1:-1, :-2]
    return (dy.square() + dx.square() + ROUND).sqrt()


def gradient_correlation(a: Tensor, b: Tensor, mask: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Correlation of the lengths of two images' gradients.

    Args:
        a, b: (N, 1, H, W), values -1 to 1.
        mask: (N, 1, H, W), 0 or 1; `masked.inside` of the body.
        epsilon: Smallest variance that is divided by; an image without gradients has correlation 0.

    Returns:
        (K,), -1 to 1.

    Raises:
        ValueError: Shapes that differ, or more than one channel.
    """
    _check(a, b, mask)
    (x, weights), (y, _) = flat(gradient_magnitude(a), mask), flat(gradient_magnitude(b), mask)
    covariance, of_a, of_b = joint_moments(x, y, weights)
    found = covariance / (of_a.clamp(min=epsilon) * of_b.clamp(min=epsilon)).sqrt()
    return found[known(mask, len(a))]


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Gaussian of so many pixels, cut at three sigma, edges repeated.

    Args:
        image: (N, C, H, W) float32.
        sigma: Above 0.
    """
    radius = max(1, round(3 * sigma))
    line = torch.exp(
        -torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype).square() / (2 * sigma**2)
    )
    line, channels = line / line.sum(), image.shape[1]
    x = functional.pad(image, [radius] * 4, mode="replicate")
    x = functional.conv2d(x, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return functional.conv2d(x, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def mind(image: Tensor, reach: int = 2, sigma: float = 1.0, presmooth: float = 0.6) -> Tensor:
    """Modality-independent neighbourhood descriptor: how like its four neighbours the patch about a pixel is.

    exp(-D / V) over its maximum, D the Gaussian-weighted squared difference of a patch and its neighbour, V the mean of
    D over the neighbours, at least a hundredth of its mean over the slice (else noise in flat parts decides).

    Source: Heinrich et al., Medical Image Analysis 16(7), 2012, equations 2 to 4, with four neighbours of a slice.

    Args:
        image: (N, 1, H, W).
        reach: Pixels to the neighbours.
        sigma: Of the patch, in pixels.
        presmooth: Sigma of a blur of the image before; 0: none.

    Returns:
        (N, 4, H, W), above 0, at most 1; all 1 where the image is constant.
    """
    image = image.float()
    if presmooth:
        image = blurred(image, presmooth)
    h, w = image.shape[-2:]
    padded = functional.pad(image, [reach] * 4, mode="replicate")
    distances = []
    for dy, dx in NEIGHBOURS:
        y, x = reach * (1 + dy), reach * (1 + dx)
        distances.append(blurred((image - padded[..., y : y + h, x : x + w]).square(), sigma))
    d = torch.cat(distances, dim=1)
    variance = d.mean(dim=1, keepdim=True)
    least = 0.01 * variance.detach().mean(dim=(1, 2, 3), keepdim=True) + 1e-6
    # over the maximum: the smallest distance becomes 0 in the exponent
    return torch.exp((d.amin(dim=1, keepdim=True) - d) / torch.maximum(variance, least))


def mind_distance(a: Tensor, b: Tensor, mask: Tensor, reach: int = 2, sigma: float = 1.0) -> Tensor:
    """Mean absolute difference of the descriptors of two images, over neighbours and the mask.

    Args:
        a, b: (N, 1, H, W); `a` and its own line (k a + c) have distance 0 up to the floor of V.
        mask: (N, 1, H, W), 0 or 1; `masked.inside` of the body.
        reach, sigma: As `mind`.

    Returns:
        (K,), 0 to 1.

    Raises:
        ValueError: Shapes that differ, or more than one channel.
    """
    _check(a, b, mask)
    apart = (mind(a, reach, sigma) - mind(b, reach, sigma)).abs().mean(dim=1, keepdim=True)
    values, weights = flat(apart, mask)
    found = (values * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
    return found[known(mask, len(a))]


def mutual_information(a: Tensor, b: Tensor, mask: Tensor, bins: int = 32) -> Tensor:
    """Normalised mutual information (H(a) + H(b)) / H(a, b), with a gradient: 1 where images say nothing of each other.

    A pixel counts for the two nearest of `bins` values from -1 to 1, the more the nearer (a triangular Parzen window):
    images of these values alone have the information of their plain histogram, 2 for a copy. Of others the window blurs
    the joint histogram: little changes where images share little, but a copy has about 1.6.

    Source: Studholme et al., Pattern Recognition 32(1), 1999; Parzen windows as in Thevenaz and Unser, IEEE TIP 2000.

    Args:
        a, b: (N, 1, H, W), values -1 to 1; others count as the nearer end.
        mask: (N, 1, H, W), 0 or 1; `masked.inside` of the body.
        bins: Values, two or more.

    Returns:
        (K,), 1 to 2.

    Raises:
        ValueError: Shapes that differ, more than one channel, or less than two bins.
    """
    _check(a, b, mask)
    if bins < 2:
        raise ValueError("mutual information needs two bins or more")
    (x, weights), (y, _) = flat(a, mask), flat(b, mask)
    first, second = (_near(v, bins) for v in (x, y))
    total = weights.sum(dim=1).clamp(min=1)[:, None, None]
    joint = torch.bmm((first * weights[..., None]).transpose(1, 2), second) / total
    alone = _entropy(joint.sum(dim=1)) + _entropy(joint.sum(dim=2))
    both = _entropy(joint.flatten(1))
    found = torch.where(both > ROUND, alone / both.clamp(min=ROUND), 1.0)
    return found[known(mask, len(a))]


def _near(values: Tensor, bins: int) -> Tensor:
    """Shares (N, P, bins) of values (N, P) from -1 to 1 in the two nearest of evenly spaced ones."""
    at = (values.clamp(-1, 1) + 1) / 2 * (bins - 1)
    return (1 - (at[..., None] - torch.arange(bins, device=values.device)).abs()).clamp(min=0)


def _entropy(shares: Tensor) -> Tensor:
    """Nats of shares (N, B) that add up to 1."""
    return -(shares * shares.clamp(min=1e-12).log()).sum(dim=1)


def _check(a: Tensor, b: Tensor, mask: Tensor) -> None:
    if a.shape != b.shape or mask.shape != a.shape or a.shape[1] != 1:
        raise ValueError(
            f"images and mask must be (N, 1, H, W) of one size: {tuple(a.shape)}, {tuple(b.shape)}, {tuple(mask.shape)}"
        )
