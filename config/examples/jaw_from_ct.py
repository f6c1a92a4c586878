"""Mandible and skull of a head CT from intensities and one place in the chin, as the workflow's `labels_command`.

Usage: python jaw_from_ct.py IMAGE LABELS R A S    (RAS millimetres of a place inside the chin)

Bone that is one piece at 250 HU falls apart at higher thresholds, since joints are darker than the cortex beside them.
The threshold is raised until the piece with the chin is no longer the skull's; all large pieces are then flooded down
to 250 HU from bright to dark (watershed), so that they meet in the dark valleys between them.
Labels: 1 skull, 2 mandible, 3 other bone. They are `derived`: look at them before you trust a number.
"""

import sys

import cc3d
import numpy as np
import SimpleITK as sitk

BONE_HU, STEP_HU, MOST_HU = 250, 25, 1500
LEAST_MM3 = 1500  # of a piece that floods
NEAR_MM = 8  # of the chin's bone from the place that was given
SMOOTH_MM = 0.6

source, target = sys.argv[1:3]
image = sitk.ReadImage(source)
place = image.TransformPhysicalPointToContinuousIndex([-float(sys.argv[3]), -float(sys.argv[4]), float(sys.argv[5])])
values = sitk.GetArrayFromImage(image).astype(np.int32)
if values.min() >= 0:  # the program sees the file as it is: this one holds HU + 1024
    values -= 1024
spacing = np.array(image.GetSpacing()[::-1])
voxel_mm3 = float(spacing.prod())

box = tuple(slice(max(0, v.min() - 2), v.max() + 3) for v in np.nonzero(values > BONE_HU))
values = np.ascontiguousarray(values[box])
chin = np.array(place[::-1]) - [s.start for s in box]
near = np.indices(values.shape, sparse=True)
near = sum(((axis - c) * s) ** 2 for axis, c, s in zip(near, chin, spacing, strict=True)) <= NEAR_MM**2

for threshold in range(BONE_HU, MOST_HU + 1, STEP_HU):
    parts = cc3d.connected_components(values > threshold, connectivity=6)
    sizes = np.bincount(parts.ravel()) * voxel_mm3
    sizes[0] = 0
    here = np.bincount(parts[near], minlength=len(sizes))
    here[0] = 0
    jaw, skull = int(here.argmax()), int(sizes.argmax())
    if not here[jaw]:
        sys.exit(f"no bone of {threshold} HU within {NEAR_MM} mm of the place in the chin: look at R, A, S")
    if jaw != skull:
        break
else:
    sys.exit(f"mandible and skull are one piece up to {MOST_HU} HU")

seeds = np.zeros(values.shape, np.uint8)
seeds[np.isin(parts, np.flatnonzero(sizes >= LEAST_MM3))] = 3
seeds[parts == skull], seeds[parts == jaw] = 1, 2
part = sitk.GetImageFromArray(values.astype(np.float32))
part.SetSpacing(image.GetSpacing())
smooth = sitk.SmoothingRecursiveGaussian(part, SMOOTH_MM)
markers = sitk.GetImageFromArray(seeds)
markers.CopyInformation(part)
flooded = sitk.GetArrayFromImage(sitk.MorphologicalWatershedFromMarkers(-smooth, markers, markWatershedLine=False))
bone = values > BONE_HU
labels = np.where(bone, flooded, 0)
# crumbs that no bone touches (couch, tubes) were flooded through air
for identifier in (1, 2, 3):
    pieces = cc3d.connected_components(labels == identifier, connectivity=26)
    counts = np.bincount(pieces.ravel()) * voxel_mm3
    labels[(pieces > 0) & (counts[pieces] < LEAST_MM3)] = 0
print(
    f"apart at {threshold} HU; mm3: "
    + ", ".join(f"{n} {(labels == i).sum() * voxel_mm3:.0f}" for i, n in ((1, "skull"), (2, "mandible"), (3, "other")))
)
whole = np.zeros(image.GetSize()[::-1], np.uint8)
whole[box] = labels
found = sitk.GetImageFromArray(whole)
found.CopyInformation(image)
sitk.WriteImage(found, target, True)
