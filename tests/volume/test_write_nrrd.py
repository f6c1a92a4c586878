"""NRRD as ITK reads it: values, places, and the same bytes every time."""

import numpy as np
import pytest
import SimpleITK as sitk

from volforge.errors import VolforgeError
from volforge.volume.geometry import Grid
from volforge.volume.read import read_volume
from volforge.volume.write_nrrd import nrrd_bytes, write_nrrd

OBLIQUE = np.array([[0.8, -0.6, 0, 10], [0.6, 0.8, 0, -20], [0, 0, 2.5, 7], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int16, np.float32])
def test_itk_and_our_own_import_read_what_was_written(tmp_path, kind):
    values = np.random.default_rng(1).integers(0, 2, (25, 31, 12)).astype(kind)
    grid = Grid(values.shape, OBLIQUE)
    write_nrrd(tmp_path / "a.nrrd", values, grid)
    image = sitk.ReadImage(str(tmp_path / "a.nrrd"))
    assert np.array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), values.astype(image_type(kind)))
    place = np.array(image.TransformContinuousIndexToPhysicalPoint((3.0, 4.0, 5.0))) * [-1, -1, 1]
    assert np.allclose(place, OBLIQUE[:3, :3] @ [3, 4, 5] + OBLIQUE[:3, 3])
    back = read_volume(tmp_path / "a.nrrd", labels=False)
    assert np.allclose(back.grid.affine, OBLIQUE)
    assert np.array_equal(back.array, values)
    assert nrrd_bytes(values, grid) == nrrd_bytes(np.asfortranarray(values), grid)


def image_type(kind):
    return np.uint8 if kind is bool else kind


def test_other_types_are_refused():
    with pytest.raises(VolforgeError, match="complex128"):
        nrrd_bytes(np.zeros((2, 2, 2), complex), Grid((2, 2, 2), np.eye(4)))
