"""One minus the squared correlation of two images: what one says of the other by a line.

Source: Ge et al., SPIE 2019, 10949 (and ISBI 2019, where it is called mutual information: for Gaussian variables that
is -log(1 - r^2) / 2). On a whole head slice a true CT and its MR have r^2 of .61, a constant inside the outline .82;
inside of the body the true pair has .24. Minimised, it leads away from the truth: for published arms and ablations.
"""

from __future__ import annotations

from torch import Tensor

from volforge.losses.masked import flat, joint_moments, known, mean_of

EPSILON = 1e-8  # variance below which an image counts as constant; values are -1 to 1


def correlation_loss(
    a: Tensor, b: Tensor, mask: Tensor | None = None, epsilon: float = EPSILON, legacy: bool = False
) -> Tensor:
    """1 - r^2: 0 where one image is the other times a factor plus a number, 1 where they are orthogonal.

    Args:
        a, b: (N, C, H, W), equal shapes, values -1 to 1.
        mask: (N, 1, H, W), 0 or 1: pixels that count; None: all. Samples with fewer than 16 are left out.
        epsilon: Smallest variance that is divided by; a constant image has r = 0.
        legacy: As published: one r over all pixels of the batch, no mask, no epsilon. NaN where an image is constant.

    Returns:
        Mean over the samples, 0 to 1; 0 where none has pixels.

    Raises:
        ValueError: Shapes that differ, or `legacy` with a mask.
    """
    if a.shape != b.shape:
        raise ValueError(f"images of {tuple(a.shape)} and {tuple(b.shape)}")
    if legacy:
        if mask is not None:
            raise ValueError("the published correlation knows no mask")
        a, b = (x.float() - x.float().mean() for x in (a, b))
        r: Tensor = (a * b).sum() / (a.square().sum().sqrt() * b.square().sum().sqrt())
        return 1 - r.square()
    (x, weights), (y, _) = flat(a, mask), flat(b, mask)
    covariance, of_a, of_b = joint_moments(x, y, weights)
    found = 1 - covariance.square() / (of_a.clamp(min=epsilon) * of_b.clamp(min=epsilon))
    return mean_of(found[known(mask, len(a))])
