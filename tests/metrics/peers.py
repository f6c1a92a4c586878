"""The measures as other packages compute them from boolean masks, under our names."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from volforge.volume.geometry import Array

Spacing = tuple[float, float, float]
Values = dict[str, float]


def word(tolerance: float) -> str:
    """A tolerance as names of measures have it."""
    return f"{tolerance:g}".replace(".", "_")


def scipy_directed(prediction: Array, reference: Array, spacing: Spacing) -> tuple[Array, Array]:
    """Distances of the border voxels as MedPy takes them: erosion and distance transform of scipy, double."""
    borders = [m & ~ndimage.binary_erosion(m, ndimage.generate_binary_structure(3, 1)) for m in (prediction, reference)]
    away = [ndimage.distance_transform_edt(~b, sampling=spacing) for b in borders]
    return away[1][borders[0]], away[0][borders[1]]


def scipy_values(prediction: Array, reference: Array, spacing: Spacing, tolerances: tuple[float, ...]) -> Values:
    """All measures of border voxels, from scipy's distances."""
    p, r = scipy_directed(prediction, reference, spacing)
    both = np.hstack([p, r])
    found = {
        "hd_mm": both.max(),
        "hd95_mm": max(np.percentile(p, 95), np.percentile(r, 95)),
        "hd95_pooled_mm": np.percentile(both, 95),
        "assd_mm": both.mean(),
    }
    return found | {f"nsd_{word(t)}mm": float((both <= t * (1 + 1e-9)).mean()) for t in tolerances}


def monai_values(prediction: Array, reference: Array, spacing: Spacing, tolerances: tuple[float, ...]) -> Values:
    """Overlap, and distances of border voxels, by MONAI. It returns single precision.

    Its percentile takes the rank in single precision as well (torch.quantile): `hd95_of_monai_mm` is what it
    returns, `hd95_mm` the percentile in double precision of the distances it finds.
    """
    monai = pytest.importorskip("monai.metrics", reason="MONAI is not installed (extra `train`)")
    from monai.metrics.utils import get_edge_surface_distance

    p, r = as_tensor(prediction), as_tensor(reference)
    how = {"include_background": True, "spacing": spacing}
    _, directed, _ = get_edge_surface_distance(p[0, 0], r[0, 0], spacing=spacing, symmetric=True)
    found = {
        "dice": monai.compute_dice(p, r),
        "iou": monai.compute_iou(p, r),
        "hd_mm": monai.compute_hausdorff_distance(p, r, **how),
        "hd95_of_monai_mm": monai.compute_hausdorff_distance(p, r, percentile=95, **how),
        "hd95_mm": max(np.percentile(d.numpy().astype(np.float64), 95) for d in directed),
        "assd_mm": monai.compute_average_surface_distance(p, r, symmetric=True, **how),
    }
    for t in tolerances:
        found[f"nsd_{word(t)}mm"] = monai.compute_surface_dice(p, r, [t], **how)
        found[f"nsd_elements_{word(t)}mm"] = monai.compute_surface_dice(p, r, [t], use_subvoxels=True, **how)
    return {n: float(v) for n, v in found.items()}


def as_tensor(mask: Array):
    """A mask as MONAI takes it: batch, channel, axes."""
    import torch

    torch.set_num_threads(1)
    return torch.from_numpy(np.ascontiguousarray(mask))[None, None].float()


def surface_distance_values(
    prediction: Array, reference: Array, spacing: Spacing, tolerances: tuple[float, ...]
) -> Values:
    """Measures of surface elements by DeepMind's package."""
    package = pytest.importorskip("surface_distance", reason="surface-distance is not installed")
    found = package.compute_surface_distances(reference, prediction, spacing)
    means = package.compute_average_surface_distance(found)  # of either surface; ours is of both together
    areas = [found[f"surfel_areas_{n}"].sum() for n in ("gt", "pred")]
    values = {
        "hd_elements_mm": package.compute_robust_hausdorff(found, 100),
        "hd95_elements_mm": package.compute_robust_hausdorff(found, 95),
        "assd_elements_mm": np.dot(means, areas) / sum(areas),
    }
    for t in tolerances:
        values[f"nsd_elements_{word(t)}mm"] = package.compute_surface_dice_at_tolerance(found, t)
    return {n: float(v) for n, v in values.items()}


def itk_image(mask: Array, spacing: Spacing = (1.0, 1.0, 1.0)):
    """A mask as SimpleITK's image."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(mask.transpose(2, 1, 0)).astype(np.uint8))
    image.SetSpacing(spacing)
    return image


def itk_hausdorff(prediction: Array, reference: Array, spacing: Spacing) -> tuple[float, float]:
    """Greatest distance, and mean of the two directed means, between all voxels of two masks by SimpleITK."""
    import SimpleITK as sitk

    found = sitk.HausdorffDistanceImageFilter()
    found.Execute(itk_image(prediction, spacing), itk_image(reference, spacing))
    return found.GetHausdorffDistance(), found.GetAverageHausdorffDistance()


def itk_contour(mask: Array) -> Array:
    """Border voxels by SimpleITK, with air around the array: its filter takes no face for a border."""
    import SimpleITK as sitk

    image = sitk.LabelContour(itk_image(np.pad(mask, 1)), fullyConnected=False)
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0)[1:-1, 1:-1, 1:-1] > 0


def itk_overlap(prediction: Array, reference: Array) -> Values:
    """Overlap by SimpleITK."""
    import SimpleITK as sitk

    found = sitk.LabelOverlapMeasuresImageFilter()
    found.Execute(itk_image(prediction), itk_image(reference))
    return {
        "dice": found.GetDiceCoefficient(),
        "iou": found.GetJaccardCoefficient(),
        "sensitivity": 1 - found.GetFalseNegativeError(),
        "precision": 1 - found.GetFalseDiscoveryRate(),
    }
