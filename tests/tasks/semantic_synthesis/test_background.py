"""The background before and after: a picture where something was taken away, once for a study."""

import numpy as np
import pytest

from tests.conftest import ball_ct, save
from tests.study.cohorts import AFFINE, SHAPE, imported
from volforge.config.models import SliceRecipe
from volforge.study.cases import Cohort
from volforge.tasks.semantic_synthesis.background import background_strips
from volforge.volume.background_picture import FILE, WIDTH, read_background, takes_much

CT = {"modality": "CT", "contrast": None}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A ball in clean air, and one over a couch."""
    folder = tmp_path_factory.mktemp("cohort")
    lines = ["subject\tscan\tmodality\timage\tsplit"]
    for name in ("clean", "couch"):
        image = ball_ct(SHAPE, 9)
        if name == "couch":
            image[1:-1, 1:3, 1:-1] = -300
        save(folder / f"{name}.nii.gz", image, AFFINE)
        lines.append(f"{name}\t{name}\tCT\t{name}.nii.gz\ttest")
    return Cohort(imported(folder, lines, {}))


def test_a_scan_whose_couch_was_taken_away_has_a_picture_of_it(cohort):
    scans = cohort.scans.parent / "scans"
    assert read_background(scans / "clean" / FILE) is None
    before, after = read_background(scans / "couch" / FILE)
    assert before.shape == after.shape
    assert before.shape[1] == WIDTH
    grey = np.ptp(before.astype(int), axis=2) < 30  # not the outline
    couch = ((before.mean(axis=2) > 100) & grey).sum()
    assert couch > ((after.mean(axis=2) > 100) & grey).sum() > 0
    assert (np.ptp(before.astype(int), axis=2) > 100).any()  # the body's outline


def test_the_picture_stands_once_beside_all_arms(cohort):
    found = background_strips(cohort, "heads", CT, {})
    assert [(s.place, s.label) for s, _ in found] == [("first", "as it came"), ("last", "background removed")]
    assert {s.title for s, _ in found} == {"The background of the cohort heads, before and after its removal"}
    assert all(s.caption.startswith("couch, ") for s, _ in found)
    assert background_strips(cohort, "heads", {"modality": "MR", "contrast": None}, {}) == []


def test_the_published_rule_is_shown_by_recipe(cohort):
    recipe = SliceRecipe(kind="slices", background="legacy_threshold").model_dump(mode="json")
    found = background_strips(cohort, "heads", CT, {"rule": recipe})
    before, after = (p for s, p in found if s.title.endswith("recipe rule"))
    assert before.shape == after.shape
    assert not after.any()  # no part of these slices has over a thousand pixels
    assert before.any()


def test_what_counts_as_much():
    body = np.zeros((20, 20, 20), bool)
    body[5:15, 5:15, 5:15] = True
    image = np.where(body, 40, -1024)
    assert not takes_much(image, body, -1024, "CT")
    noisy = image.copy()
    noisy[~body] += 150
    assert not takes_much(noisy, body, -1024, "CT")
    noisy[0] = -300
    assert takes_much(noisy, body, -1024, "CT")
    signal = np.where(body, 1000, 20)
    assert not takes_much(signal, body, 0, "MR")
    signal[0] = 200
    assert takes_much(signal, body, 0, "MR")
