"""Measures as published code computed them: only to stand beside published numbers that nothing else compares with.

Every name begins with `legacy_`. What is wrong with each is said at it; none is used to select anything.
"""

from __future__ import annotations

import math

import numpy as np

from volforge.metrics.measure import Measure
from volforge.metrics.ssim import gaussian_window, ssim
from volforge.volume.geometry import Array


def legacy_hd_voxels(prediction: Array, reference: Array, structure: str = "") -> Measure:
    """Hausdorff distance over all foreground voxels in voxel units, 0 where a mask is empty.

    As in the jaw-joint paper's code (Belikova 2021): spacing is ignored, and the 0 rewards an empty prediction.
    """
    import edt

    from volforge.metrics.crop import foreground_box, union

    p, r = np.asarray(prediction, bool), np.asarray(reference, bool)
    n = int(np.count_nonzero(r))
    if not p.any() or not n:
        return Measure("legacy_hd_voxels", 0.0, structure, "ok", n)
    box = union(foreground_box(p), foreground_box(r))
    assert box is not None
    p, r = p[box], r[box]
    far = 0.0
    for own, other in ((p, r), (r, p)):
        lonely = own & ~other  # voxels of both are at distance 0
        if lonely.any():
            far = max(far, float(edt.edt(~other, black_border=False)[lonely].max()))
    return Measure("legacy_hd_voxels", far, structure, "ok", n)


def cross_entropy_nats(logits: Array, labels: Array) -> float:
    """Mean voxel cross-entropy in nats.

    Args:
        logits: Shape (classes, ...).
        labels: Class of each voxel, shape (...).
    """
    stable = logits - logits.max(axis=0, keepdims=True)
    log_sum = np.log(np.exp(stable).sum(axis=0))
    chosen = np.take_along_axis(stable, labels[None].astype(np.intp), axis=0)[0]
    return float((log_sum - chosen).mean())


def legacy_cross_entropy_nats(logits: Array, labels: Array) -> float:
    """Cross-entropy of the softmax of the softmax, as the jaw-joint paper's U-Nets were evaluated.

    A perfect two-class prediction scores ln(1 + 1/e) = 0.3133: the published U-Net values lie on that floor.
    """
    stable = np.exp(logits - logits.max(axis=0, keepdims=True))
    return cross_entropy_nats(stable / stable.sum(axis=0, keepdims=True), labels)


def legacy_ssim(prediction: Array, reference: Array) -> float:
    """SSIM of a slice in [0, 1] at a data range of 255, as in the published semantic synthesis: nearly always 1.

    Args:
        prediction: Slice, shape (rows, columns), values 0 to 1.
        reference: The same.
    """
    whole = np.ones((*prediction.shape, 1), bool)
    return ssim(prediction[..., None], reference[..., None], whole, 255.0, gaussian_window())[0]


def legacy_rmse(prediction: Array, reference: Array) -> float:
    """RMSE of a slice in [0, 1] against the reference in [-1, 1], as that project computed it until 2024."""
    return math.sqrt(float(((prediction - (2 * reference - 1)) ** 2).mean()))


def reconstruction_error_percent(prediction: Array, reference: Array, structure: str = "implant") -> Measure:
    """Share of all voxels of the grid that differ, in percent, as printed for the AutoImplant baseline.

    It falls with every slice of air added to the grid.
    """
    differing = int(np.count_nonzero(np.asarray(prediction, bool) ^ np.asarray(reference, bool)))
    return Measure(
        "legacy_reconstruction_error_percent", 100 * differing / reference.size, structure, "ok", reference.size
    )
