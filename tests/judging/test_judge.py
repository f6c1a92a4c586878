"""The segmenter that reads synthetic images, what they are good for, and whether they repeat training images."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.study.cohorts import arm, labelled_cohort
from volforge.errors import VolforgeError
from volforge.judging.judge import Seen, View, judge_case, load_judge, train_judge, unjudged
from volforge.judging.judging_segmenter import train_judging_segmenter
from volforge.judging.memorised import memorised
from volforge.judging.utility import Shown, utility
from volforge.metrics.features import axial_slices
from volforge.study.cases import Cohort

STEPS = 60
SPACING = (1.5, 1.2, 2.0)


@pytest.fixture
def settings(tmp_path):
    own = arm(tmp_path, task="semantic_synthesis")
    return replace(own, metrics={**own.metrics, "segmenter_steps": STEPS})


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return labelled_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture
def judge(settings, scans, tmp_path):
    train_judge(settings, scans, 0, 0, tmp_path / "judge")
    return load_judge(settings, tmp_path / "judge" / "weights.safetensors")


def test_real_images_are_read_well_and_others_are_not(judge, settings, scans):
    cohort = Cohort(scans)
    image, labels = cohort.read("s2", "image"), cohort.read("s2", "labels")
    same = {(m.measure, m.structure): m for m in judge_case(judge, image, image, labels, SPACING)}
    assert same["segmenter_dice", "ball/left"].value > 0.5
    assert same["segmenter_dice_ratio", "structures"].value == pytest.approx(1)
    empty = np.full_like(image, -1000)
    other = {(m.measure, m.structure): m for m in judge_case(judge, empty, image, labels, SPACING)}
    assert other["segmenter_dice", "ball/left"].value < 0.1
    assert other["segmenter_real_dice", "ball/left"] == same["segmenter_real_dice", "ball/left"]
    assert other["segmenter_dice_ratio", "structures"].value < 0.2
    rows = [{(m.measure, m.structure) for m in found} for found in (unjudged(settings), same.values())]
    assert rows[0] == rows[1]


def test_a_real_image_is_read_once_for_all_samples(judge, scans):
    cohort = Cohort(scans)
    image, labels = cohort.read("s2", "image"), cohort.read("s2", "labels")
    passes = []
    judge.network.register_forward_hook(lambda *_: passes.append(1))
    first = judge_case(judge, image, image, labels, SPACING)
    alone = len(passes) // 2
    assert judge_case(judge, image, image, labels, SPACING) == first
    assert len(passes) == 3 * alone
    judge_case(judge, image, image * 2, labels, SPACING)  # another image is another ceiling
    assert len(passes) == 5 * alone


def test_a_structure_that_the_map_lacks_is_absent(judge, scans):
    image = Cohort(scans).read("s2", "image")
    labels = Cohort(scans).read("s2", "labels") * 0
    labels[5:9, 5:9, 4] = 1
    found = judge_case(judge, image, image, labels, SPACING)
    assert [m.status for m in found if m.structure == "ball/right"] == ["absent", "absent"]


def test_a_seed_decides_the_segmenter(settings, scans, tmp_path):
    digests = {train_judge(settings, scans, 0, 0, tmp_path / str(k)) for k in range(2)}
    assert len(digests) == 1
    assert train_judge(settings, scans, 0, 1, tmp_path / "other") not in digests


def test_a_damaged_segmenter_is_refused(settings, scans, tmp_path):
    train_judge(settings, scans, 0, 0, tmp_path / "judge")
    path = tmp_path / "judge" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(VolforgeError, match="damaged"):
        load_judge(settings, path)


@pytest.mark.parametrize("spacing", [(1.5, 1.5, 3.0), (0.7, 0.9, 5.0), (6.0, 3.0, 1.0)])
def test_volumes_are_shown_at_one_pixel_size_whatever_their_own(spacing):
    view = View({"a/": 7, "b/": 300}, 3.0, (-1000.0, 1000.0))
    labels = np.zeros((30, 24, 6), np.uint16)
    labels[5:15, 6:18, 2:4] = 7
    labels[18:22, 6:18, 3] = 300
    image = np.where(labels > 0, 500, -1000).astype(np.int16)
    seen = view(image, labels, spacing)
    assert len(seen.images) == 2  # slices with structures
    assert seen.images.shape[1] % 8 == seen.images.shape[2] % 8 == 0
    area = (seen.labels == 1).sum() * 9
    assert area == pytest.approx((labels == 7).sum() * spacing[0] * spacing[1], rel=0.35)
    assert (seen.images[seen.labels > 0] > 0.5).mean() > 0.8
    assert seen.images.min() >= 0
    assert seen.images.max() <= 1


def shown(subject, texture=0.0, seed=0):
    """A case of two squares of different brightness; `texture` hides them."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((6, 24, 24), np.uint8)
    row, column = rng.integers(1, 8, 2)
    labels[:, row : row + 8, column : column + 8] = 1
    labels[:, row + 9 : row + 15, column : column + 8] = 2
    image = np.choose(labels, [0.1, 0.4, 0.8]).astype(np.float32)
    made = np.clip(image * (texture == 0) + texture * rng.random(image.shape, np.float32), 0, 1)
    return Shown(subject, f"{subject}-scan", Seen(made, labels), Seen(image, labels))


def test_images_are_useful_if_a_segmenter_learns_from_them_to_read_other_subjects(settings):
    good = utility(settings, [shown(f"p{k}", seed=k) for k in range(6)], 0)
    useless = utility(settings, [shown(f"p{k}", texture=1.0, seed=k) for k in range(6)], 0)
    assert [len(v) for v in (good, useless)] == [12, 12]  # every subject is tested once
    means = [np.nanmean([m.value for _, m in v]) for v in (good, useless)]
    assert means[0] > 0.7
    assert means[1] < means[0] - 0.15
    none = [replace(shown(f"p{k}", seed=k), made=None) for k in range(4)]
    assert {m.status for _, m in utility(settings, none, 0)} == {"missing_prediction"}
    assert {m.status for _, m in utility(settings, [shown("p0")], 0)} == {"undefined"}  # nobody else to learn from


def test_copies_of_training_images_are_noticed(settings, scans):
    cohort = Cohort(scans)

    def slices(name):
        image = cohort.target_image(name)
        return axial_slices(image, cohort.body(name, image.shape), settings.metrics["window_hu"])

    real = [(f"p{k}", slices(f"s{k}")) for k in (2, 3)]
    copied = memorised(settings, cohort, 0, [("p2", slices("s0")), ("p3", slices("s1"))], real)
    assert [m.measure for m in copied] == ["memorisation_share", "memorisation_distance_ratio"]
    assert copied[0].value > 0.7  # half of the training slices are compared: as many as are held out
    assert copied[1].value < 0.2
    others = memorised(settings, cohort, 0, [("p2", slices("s3")), ("p3", slices("s2"))], real)
    assert others[0].value < 0.3
    alone = memorised(settings, cohort, 0, [("p2", slices("s2"))], real[:1])
    assert all(m.status == "undefined" and math.isnan(m.value) for m in alone)


def test_nothing_to_learn_from_is_said():
    with pytest.raises(ValueError, match="no slices"):
        train_judging_segmenter([], [], 3, 1, 0)
