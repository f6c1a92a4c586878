"""A structure of one's own from intensities: the skull of a head CT, as the workflow's `labels_command`.

Usage: python skull_from_ct.py IMAGE LABELS
"""

import sys

import cc3d
import numpy as np
import SimpleITK as sitk

BONE_HU = 250
CLOSING_MM = 2.0

image = sitk.ReadImage(sys.argv[1])
bone = sitk.GetArrayFromImage(image) > BONE_HU
parts = cc3d.largest_k(np.ascontiguousarray(bone), k=1)
skull = sitk.GetImageFromArray((parts > 0).astype(np.uint8))
skull.CopyInformation(image)
radius = [max(1, round(CLOSING_MM / s)) for s in image.GetSpacing()]
sitk.WriteImage(sitk.BinaryMorphologicalClosing(skull, radius), sys.argv[2])
