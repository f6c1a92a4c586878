"""The sheets of a trial: who is learnt from, who is tested, and no subject in both."""

import csv

import numpy as np
import pytest

from tests.tasks.implant.kriging.shells import cap, centres, voxels
from volforge.errors import VolforgeError
from volforge.tasks.implant.trial import make_trial


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    import SimpleITK

    folder = tmp_path_factory.mktemp("triples")
    for number in range(5):
        whole, affine = voxels((68.0 + number, 90.0, 78.0), 2.2, 7.0, 4.0)
        implant = (cap(centres(whole.shape, affine), (0.2, -0.5, 1), 20) & (whole > 0)).astype(np.uint8)
        for kind, mask in (("complete_skull", whole), ("defective_skull", whole - implant), ("implant", implant)):
            (folder / kind).mkdir(exist_ok=True)
            image = SimpleITK.GetImageFromArray(np.ascontiguousarray(mask.transpose(2, 1, 0)))
            image.SetSpacing((4.0,) * 3)
            SimpleITK.WriteImage(image, str(folder / kind / f"{number:03d}.nrrd"))
    return folder


def test_tested_skulls_are_in_no_other_sheet_and_get_defects_elsewhere(data, tmp_path):
    learnt, skulls, elsewhere = (rows(p) for p in make_trial(data, tmp_path, ["003-004"]))
    assert [r["scan"] for r in learnt] == ["skullfix-000", "skullfix-001", "skullfix-002"]
    assert {r["scan"][-3:]: r["split"] for r in skulls} == {
        "000": "train", "001": "train", "002": "train", "003": "test", "004": "test",
    }  # fmt: skip
    tested = [r for r in elsewhere if r["split"] == "test"]
    assert len(tested) == 10
    assert sorted({r["place"] for r in tested} & {"frontal", "temporal", "vertex", "occipital"}) == [
        "frontal", "occipital", "temporal", "vertex",
    ]  # fmt: skip
    assert sum(float(r["size_cm3"]) >= 45 for r in tested) == 2
    assert not {r["subject"] for r in tested} & {r["subject"] for r in learnt}
    assert {r["subject"] for r in tested} == {"skullfix-003", "skullfix-004"}


@pytest.mark.parametrize(
    ("words", "told"), [(["009"], "no triple 009"), (["x"], "no number"), (["000-003"], "1 to learn")]
)
def test_what_cannot_be_tested_is_named(data, tmp_path, words, told):
    with pytest.raises(VolforgeError, match=told):
        make_trial(data, tmp_path, words)
