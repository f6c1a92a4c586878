"""Enhancement of a thin bone from its probability map: edges of the image where the network suspects bone.

Source: step C of Belikova et al., Sci. Rep. 11, 16292 (2021): 3-D Canny edges times the probability, kept above 0.1 and
closed slice by slice. Its thresholds are not recorded; they are taken here from the gradients where bone is suspected.
The original keeps the edges alone; a shell with holes leaks in the inflation, so that we join them to the thresholded
map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.volume.geometry import Array
from volforge.volume.morphology import components

SUSPECTED, KEPT = 0.3, 0.1
UPPER_PERCENTILE, LOWER_SHARE = 80.0, 0.4
VARIANCE = 1.0  # voxels squared
SMALLEST_MM3 = 50.0


@dataclass(frozen=True)
class Enhanced:
    """An enhanced bone.

    Attributes:
        mask: (X, Y, Z) bool: edges or probable bone, closed, without pieces under 50 mm3.
        edges: The edge shell alone, as published.
        thresholds: Lower and upper hysteresis threshold on the image's 0 to 255 scale.
        fell_back: No edge was found, and the mask is the thresholded probability alone.
    """

    mask: Array
    edges: Array
    thresholds: tuple[float, float]
    fell_back: bool


def enhance(image: Array, probability: Array, voxel_mm3: float) -> Enhanced:
    """Enhance a thin bone.

    Args:
        image: (X, Y, Z) HU or any unit, the region of the joint.
        probability: 0 to 1, of the bone.
        voxel_mm3: Volume of a voxel.
    """
    import SimpleITK as sitk
    from scipy.ndimage import binary_closing, gaussian_gradient_magnitude, generate_binary_structure

    low, high = float(image.min()), float(image.max())
    scaled = np.rint((image.astype(np.float32) - low) * np.float32(255 / max(high - low, 1e-6)))
    slope = gaussian_gradient_magnitude(scaled, np.sqrt(VARIANCE))
    suspected = slope[probability > SUSPECTED]
    upper = float(np.percentile(suspected, UPPER_PERCENTILE)) if suspected.size else 0.0
    probable = probability > 0.5
    edges = np.zeros(image.shape, bool)
    if upper > 0:
        source = sitk.GetImageFromArray(np.ascontiguousarray(scaled))
        found = sitk.CannyEdgeDetection(source, LOWER_SHARE * upper, upper, [VARIANCE] * 3, [0.01] * 3)
        edges = (sitk.GetArrayFromImage(found) > 0) & (probability > KEPT)
        square = np.ones((3, 3, 1), bool)  # the published closing: 3 x 3, axial slices
        edges = binary_closing(np.pad(edges, 1), square)[1:-1, 1:-1, 1:-1]
    joined = edges | probable
    closed = binary_closing(np.pad(joined, 1, mode="edge"), generate_binary_structure(3, 1))[1:-1, 1:-1, 1:-1] | joined
    labels, counts = components(closed, 26)
    large = counts * voxel_mm3 >= SMALLEST_MM3
    large[0] = False
    return Enhanced(np.asarray(large[labels]), edges, (LOWER_SHARE * upper, upper), not edges.any())
