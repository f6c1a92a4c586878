"""Label map of a whole head from brain regions and geometry alone, as the workflow's `labels_command`.

Usage: python head_from_muse.py IMAGE LABELS    (regions are read from ../dlmuse/<name>_DLMUSE.nii.gz beside IMAGE)

Brain regions (MUSE codes) are merged to 15 structures. What lies outside of the brain comes from distances: nothing of
the image but the outline of the head goes into the map, else the map would give away what is to be painted. From the
brain outwards: meninges (2 mm, and gaps of up to 8 mm in the brain's surface), skull (8 mm); from the skin inwards:
scalp (4 mm), fat under it (8 mm); and the rest of the head.
"""

import sys
from pathlib import Path

import edt
import nibabel as nib
import numpy as np

from volforge.volume.body_mask import find_body
from volforge.volume.geometry import Grid, reorientation_of
from volforge.volume.morphology import closing

STRUCTURES = {  # name: MUSE codes
    "ventricle": (4, 11, 49, 50, 51, 52),
    "caudate": (23, 30, 36, 37),
    "putamen": (57, 58),
    "pallidum": (55, 56),
    "thalamus": (59, 60),
    "ventral_diencephalon": (61, 62, 69, 75, 76),
    "hippocampus": (47, 48),
    "amygdala": (31, 32),
    "brainstem": (35,),
    "cerebellar_cortex": (38, 39, 71, 72, 73),
    "cerebellar_white_matter": (40, 41),
    "white_matter": tuple(range(81, 89)),
    "deep_white_matter": (46, *range(89, 96)),
    "cortex": tuple(range(100, 208)),
    "cortical_fluid": (1,),
}
AROUND = ("meninges", "skull", "scalp", "subcutaneous", "rest")
MENINGES_MM, SKULL_MM, SCALP_MM, FAT_MM, GAP_MM = 2.0, 8.0, 4.0, 8.0, 4.0

image_path, labels_path = map(Path, sys.argv[1:3])
regions_path = image_path.parent.parent / "dlmuse" / image_path.name.replace(".nii.gz", "_DLMUSE.nii.gz")
if not regions_path.exists():
    sys.exit(f"no brain regions: {regions_path}")
image, regions = nib.load(image_path), nib.load(regions_path)
if image.shape != regions.shape or not np.allclose(image.affine, regions.affine, atol=1e-3):
    sys.exit(f"image and regions lie on different grids: {image_path}, {regions_path}")
codes = np.rint(np.asarray(regions.dataobj)).astype(np.int64)
table = np.zeros(max(codes.max(), 207) + 1, np.uint8)
for number, members in enumerate(STRUCTURES.values(), start=1):
    table[list(members)] = number
unknown = sorted(set(np.unique(codes).tolist()) - {0, *(c for m in STRUCTURES.values() for c in m)})
if unknown:
    sys.exit(f"codes that belong to no structure: {unknown} in {regions_path}")
labels = table[codes]

turn = reorientation_of(image.affine)
a, b, c = image.shape
grid = turn.canonical(Grid((a, b, c), image.affine))
values = np.asfortranarray(turn.apply(np.asarray(image.dataobj, np.float32)))
head = find_body(values, grid.spacing_mm, hounsfield=False).mask
found = np.asfortranarray(turn.apply(labels))
brain = found > 0
head |= brain
from_brain = edt.edt(~closing(brain, GAP_MM, grid.spacing_mm), anisotropy=grid.spacing_mm)
depth = edt.edt(head, anisotropy=grid.spacing_mm)  # a head that the view cuts has no skin at the cut
first = len(STRUCTURES) + 1
layer = np.full(found.shape, first + AROUND.index("rest"), np.uint8)
for name, where in (
    ("subcutaneous", depth <= FAT_MM),
    ("skull", from_brain <= SKULL_MM),
    ("scalp", depth <= SCALP_MM),
    ("meninges", from_brain <= MENINGES_MM),
):
    layer[where] = first + AROUND.index(name)
found = np.where(brain, found, np.where(head, layer, 0)).astype(np.uint8)

# back onto the grid of the file
back = nib.orientations.ornt_transform(
    nib.orientations.axcodes2ornt("RAS"), nib.orientations.io_orientation(image.affine)
)
stored = nib.orientations.apply_orientation(found, back)
nib.save(nib.Nifti1Image(stored, image.affine), labels_path)
