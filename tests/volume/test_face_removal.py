"""Pictures of heads without the face: what is hidden, that no feature shapes its border, that volumes stay."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tests.conftest import save
from volforge.volume.face_removal import DEPTH_MM, STEP_MM, face_region, without_face
from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan

STEP = 4.0
SHAPE = (50, 64, 64)


def head(features: int = 0) -> np.ndarray:
    """A head in air on a 4 mm grid, RAS, int16 HU; `features` chooses eyes, cheeks and mouth between one nose, chin and brow."""
    x, y, z = (v * STEP for v in np.indices(SHAPE))
    inside = ((x - 100) / 75) ** 2 + ((y - 120) / 95) ** 2 + ((z - 150) / 95) ** 2 <= 1
    inside |= (abs(x - 100) < 45) & (abs(y - 110) < 50) & (z < 120)  # jaw and neck
    for level, half in ((120, 14), (56, 8), (150, 6)):  # nose, chin, brow: as far forward as anything
        inside |= (abs(x - 100) < 12) & (y > 150) & (y < 226) & (abs(z - level) < half)
    rng = np.random.default_rng(features)
    for _ in range(6 if features else 0):
        at = rng.uniform((60, 195, 70), (140, 213, 145))
        ball = (x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2 < rng.uniform(6, 11) ** 2
        inside = inside | ball if rng.random() < 0.5 else inside & ~ball
    return np.where(inside, 40, -1000).astype(np.int16)


def test_the_face_is_hidden_and_the_vault_is_not():
    body = head() > -500
    hidden = face_region(body, (STEP, STEP, STEP))
    top = np.flatnonzero(body.any(axis=(0, 1)))[-1]
    assert not hidden[:, :, top - 20 :].any()
    nose = np.zeros(SHAPE, bool)
    nose[48 // 4 : 152 // 4, 46:, 106 // 4 : 134 // 4] = True
    assert hidden[nose].all()
    assert 0.02 < (hidden & body).sum() / body.sum() < 0.25
    assert not hidden[:, :25, body.any(axis=(0, 1))].any()  # nothing of the back


def test_no_feature_of_the_face_shapes_what_is_left():
    """Heads that differ in eyes, cheeks and mouth alone look the same."""
    kept = [without_face(head(n), head(n) > -500, None, (STEP, STEP, STEP))[:2] for n in range(5)]
    assert not np.array_equal(head(1), head(2))
    for image, body in kept[1:]:
        assert np.array_equal(image, kept[0][0])
        assert np.array_equal(body, kept[0][1])


def test_the_front_is_flat_across_and_steps_along_the_body():
    hidden = face_region(head(3) > -500, (STEP, STEP, STEP))
    assert (hidden == hidden[:1]).all()
    first = np.argmax(hidden[0], axis=0)[hidden[0].any(axis=0)] * STEP
    assert len(np.unique(first)) <= 12
    assert DEPTH_MM > 2 * STEP_MM


def test_a_head_that_is_cut_above_is_hidden_up_to_there():
    body = head()[:, :, :40] > -500
    assert face_region(body, (STEP, STEP, STEP))[:, -1, :].all()
    assert not face_region(np.zeros((4, 4, 4), bool), (1, 1, 1)).any()


def imported(folder, path, faces):
    settings = ImportSettings(qc_faces=faces)
    import_scan(ScanRequest("a", "CT", "hu", {"image": path}), settings, folder / faces, record_refusal=False)
    return folder / faces


def test_pictures_differ_and_volumes_do_not(tmp_path):
    path = save(tmp_path / "a.nii.gz", head(1), np.diag([STEP, STEP, STEP, 1]))
    keep, remove = imported(tmp_path, path, "keep"), imported(tmp_path, path, "remove")
    for name in ("image.nii.gz", "body.nii.gz", "record.json"):
        assert (keep / name).read_bytes() == (remove / name).read_bytes()
    assert (keep / "qc.png").read_bytes() != (remove / "qc.png").read_bytes()
    other = save(tmp_path / "b.nii.gz", head(2), np.diag([STEP, STEP, STEP, 1]))
    again = imported(tmp_path / "other", other, "remove")
    one, two = (np.asarray(Image.open(p / "qc.png")) for p in (remove, again))
    assert np.array_equal(one, two)


@pytest.mark.real
def test_a_real_head(real):
    image = nib.as_closest_canonical(nib.load(real / "vhf_head_ct/vhf_head_1mm_approxHU.nii.gz"))
    array = np.asarray(image.dataobj[::2, ::2, ::2])
    from volforge.config.models import BodyMask
    from volforge.volume.body_mask import find_body

    body = find_body(array, (2.0, 2.0, 2.0), True, BodyMask()).mask
    hidden = face_region(body, (2.0, 2.0, 2.0))
    levels = np.flatnonzero(hidden.any(axis=(0, 1)) & body.any(axis=(0, 1)))
    middle = int(np.flatnonzero(body.any(axis=(1, 2))).mean())
    seen = 0
    for z in levels:
        profile = np.flatnonzero(body[middle - 5 : middle + 6, :, z].any(axis=0))
        if len(profile) and profile[-1] * 2 > np.flatnonzero(body.any(axis=(0, 2)))[-1] * 2 - 30:
            assert hidden[middle, profile[-1], z]  # nose, lips and what stands as far forward
            seen += 1
    assert seen > 15
    assert 0.02 < (hidden & body).sum() / body.sum() < 0.3
