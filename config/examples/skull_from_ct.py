"""A structure of one's own from intensities: the skull of a head CT, as the workflow's `labels_command`.

Usage: python skull_from_ct.py IMAGE LABELS
"""

import sys
from pathlib import Path

import cc3d
import numpy as np
import SimpleITK as sitk

BONE_HU = 250
CLOSING_MM = 2.0

source = sys.argv[1]
if Path(source).is_dir():  # a DICOM series
    source = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(source)
image = sitk.ReadImage(source)
values = sitk.GetArrayFromImage(image).astype(np.int32)
if values.min() >= 0:  # the program sees the file as it is, and this one holds HU + 1024
    values -= 1024
bone = values > BONE_HU
parts = cc3d.largest_k(np.ascontiguousarray(bone), k=1)
skull = sitk.GetImageFromArray((parts > 0).astype(np.uint8))
skull.CopyInformation(image)
radius = [max(1, round(CLOSING_MM / s)) for s in image.GetSpacing()]
sitk.WriteImage(sitk.BinaryMorphologicalClosing(skull, radius), sys.argv[2])
