"""A label map painted by hand: on its own grid, and only with ids that the generator knows."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.conftest import save
from tests.tasks.semantic_synthesis.published import Generator, drawn
from volforge.errors import VolforgeError
from volforge.tasks.registry import task
from volforge.tasks.semantic_synthesis.by_hand import predict_synthesis
from volforge.tasks.semantic_synthesis.published_weights import import_published


@pytest.fixture(scope="module")
def painter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("painter")
    torch.save(drawn(Generator(False, 2, blocks=3, hidden=6)).state_dict(), folder / "best_EMA.pth")
    import_published(folder / "best_EMA.pth", "ct", folder / "model", lambda _: None)
    return folder / "model"


def test_a_map_is_painted_on_its_own_grid(painter, tmp_path):
    values = np.zeros((12, 14, 3), np.uint8)
    values[3:9, 3:11] = 34
    values[5:7, 5:9] = 7
    affine = np.array([[-8.0, 0, 0, 40], [0, -8, 0, 50], [0, 0, 5, -9], [0, 0, 0, 1]])
    save(tmp_path / "labels.nii.gz", values, affine)
    words = ([painter], tmp_path / "painted.nii.gz", "CT", "")
    predict_synthesis(tmp_path / "labels.nii.gz", *words)
    made = nib.load(tmp_path / "painted.nii.gz")
    assert made.shape == values.shape
    assert np.allclose(made.affine, affine)
    image = np.asarray(made.dataobj)
    assert -1024 <= image.min() < image.max() <= 1500
    about = json.loads((tmp_path / "painted.json").read_text())
    assert about["unit"] == "hu"
    assert about["generator"]["imported"]["part"] == "ct"
    predict_synthesis(tmp_path / "labels.nii.gz", [painter], tmp_path / "again.nii.gz", "CT", "")
    assert np.array_equal(np.asarray(nib.load(tmp_path / "again.nii.gz").dataobj), image)
    assert task("semantic_synthesis").by_hand["predict_synthesis"].endswith(":predict_synthesis")


def test_neither_the_map_nor_a_foreign_record_is_written_over(painter, tmp_path):
    values = np.zeros((12, 14, 3), np.uint8)
    values[3:9, 3:11] = 34
    scan = save(tmp_path / "labels.nii.gz", values, np.diag([8.0, 8, 5, 1]))
    before = scan.read_bytes()
    (tmp_path / "side.json").write_text('{"EchoTime": 1}')
    for out, wrong in ((scan, "written over --image"), (tmp_path / "side.nii.gz", "no record of an image")):
        with pytest.raises(VolforgeError, match=wrong):
            predict_synthesis(scan, [painter], out, "CT", "")
    assert scan.read_bytes() == before
    assert (tmp_path / "side.json").read_text() == '{"EchoTime": 1}'


def test_what_cannot_be_painted_is_refused(painter, tmp_path):
    values = np.zeros((6, 6, 2), np.uint8)
    save(tmp_path / "empty.nii.gz", values, np.diag([8.0, 8, 9, 1]))
    values[2:4, 2:4] = 200
    save(tmp_path / "other.nii.gz", values, np.diag([8.0, 8, 9, 1]))
    out = tmp_path / "painted.nii.gz"
    with pytest.raises(VolforgeError, match="label ids that no structure has: 200"):
        predict_synthesis(tmp_path / "other.nii.gz", [painter], out, "CT", "")
    with pytest.raises(VolforgeError, match="nothing is labelled"):
        predict_synthesis(tmp_path / "empty.nii.gz", [painter], out, "CT", "")
    with pytest.raises(VolforgeError, match="one generator"):
        predict_synthesis(tmp_path / "other.nii.gz", [painter, painter], out, "CT", "")
    with pytest.raises(VolforgeError, match="has no unit"):
        predict_synthesis(tmp_path / "other.nii.gz", [painter], out, "CT", "hu")
    with pytest.raises(VolforgeError, match="no confidence"):
        predict_synthesis(tmp_path / "other.nii.gz", [painter], out, "CT", "", tmp_path / "c.nii.gz")
    with pytest.raises(VolforgeError, match="written as"):
        predict_synthesis(tmp_path / "other.nii.gz", [painter], tmp_path / "painted.png", "CT", "")
    assert not out.exists()
