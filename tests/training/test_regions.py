"""What a training sees: no tested subject, samples that depend on (seed, index) alone, structures under their names."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.cohort import cut_cohort
from tests.training.cohort import settings as model_settings
from volforge.errors import VolforgeError
from volforge.study.cases import Cohort, free_rows
from volforge.study.inner_split import inner_split
from volforge.tasks.segmentation.training import SegmentationTask
from volforge.training.augment import Augmentation
from volforge.training.regions import Regions, padded


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return cut_cohort(tmp_path_factory.mktemp("cohort"))


def regions(scans, **more):
    return Regions(model_settings(**more), scans.parent / "recipes" / "whole", Cohort(scans).rows)


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3), st.sampled_from(["train", "val", "test"])), min_size=4),
    st.booleans(),
    st.integers(0, 3),
    st.floats(0, 0.9),
)
@settings(max_examples=150, deadline=None)
def test_no_tested_subject_is_learnt_from_or_chooses_weights(drawn, by_fold, fold, share):
    of_subject = {s: (f, split) for s, f, split in drawn}  # one fold and split a subject, as the cohort deals them
    rows = [
        {"subject": f"p{s}", "scan": f"s{i}", "fold": str(of_subject[s][0]), "split": of_subject[s][1]}
        for i, (s, _, _) in enumerate(drawn)
    ]
    chosen = model_settings(by_fold=by_fold, training={"validation": share})
    learnt, held = inner_split(free_rows(rows, chosen.by_fold, fold), chosen.by_fold, chosen.training["validation"])
    tested = {r["subject"] for r in rows if (r["fold"] == str(fold) if by_fold else r["split"] == "test")}
    assert not learnt & tested
    assert not held & tested
    assert not learnt & held
    left = {r["subject"] for r in rows} - tested
    if by_fold and left:
        assert learnt
        assert bool(held) == (share > 0 and len(left) > 1)
        assert learnt | held == left
    if not by_fold:
        assert learnt <= {r["subject"] for r in rows if r["split"] == "train"}


def test_classes_carry_their_names_and_sides_are_mirrored(scans):
    whole = regions(scans)
    assert len(whole.regions) == 5
    one = whole.regions[0]
    cut = whole.cut(one, np.zeros(3, int), one.shape)
    assert cut["image"].shape == (1, *one.shape)
    assert cut["image"].min() >= -1
    assert cut["image"].max() <= 1
    assert set(np.unique(cut["labels"])) == {0, 1, 2}
    region = {
        "around": "ball", "size": [12, 16, 16], "offset_mm": [0, 0, 0], "jitter_mm": 0, "mirror": True,
        "ids": {"left": 1, "right": 2},
    }  # fmt: skip
    classes = [{"structure": "ball", "side": "", "ids": {"left": 1, "right": 2}}]
    sided = regions(scans, region=region, classes=classes)
    assert [(r.scan, r.side) for r in sided.regions[:2]] == [("s0", "left"), ("s0", "right")]
    boxes = []
    for r in sided.regions[:2]:
        cut = sided.cut(r, sided.box_start(r, region["size"]), region["size"])
        assert set(np.unique(cut["labels"])) == {0, 1}
        boxes.append(cut["labels"][0])
    # the halves of a ball are mirror images: after mirroring both look alike
    plain = boxes[0].astype(int) - boxes[1][:, ::-1][:, ::-1].astype(int)
    assert np.abs(plain).mean() < 0.1
    unmirrored = regions(scans, region={**region, "mirror": False}, classes=classes)
    r = unmirrored.regions[1]
    other = unmirrored.cut(r, unmirrored.box_start(r, region["size"]), region["size"])["labels"][0]
    assert np.array_equal(other[::-1], boxes[1])


def test_what_lies_beyond_a_cut_is_outside(scans):
    whole = regions(scans)
    one = whole.regions[0]
    cut = whole.cut(one, np.array([-4, -4, -4]), [8, 8, 8])
    assert (cut["image"][0, :4] == -1).all()
    assert (cut["labels"][0, :4] == 0).all()
    inner = whole.cut(one, np.zeros(3, int), [4, 4, 4])
    assert np.array_equal(cut["image"][0, 4:, 4:, 4:], inner["image"][0])
    far = whole.cut(one, np.array([1000, 0, 0]), [8, 8, 8])
    assert (far["image"] == -1).all()


def test_padded_covers_every_overlap():
    array = np.arange(27).reshape(3, 3, 3)
    for start in np.ndindex(9, 2, 2):
        first = np.array(start) - 4
        box = np.full((4, 4, 4), -1)
        inner, where = padded(array, first, [4, 4, 4])
        box[where] = inner
        for at in np.ndindex(4, 4, 4):
            voxel = first + at
            inside = ((voxel >= 0) & (voxel < 3)).all()
            assert box[at] == (array[tuple(voxel)] if inside else -1)


def test_a_localiser_learns_both_sides_grown_as_one_class(scans):
    classes = [{"structure": "ball", "side": "", "ids": {"left": 1, "right": 2}}]
    plain, grown = (regions(scans, kind="localiser", classes=classes, dilate_mm=d) for d in (0.0, 5.0))
    r = plain.regions[0]
    small, large = (x.cut(r, np.zeros(3, int), r.shape)["labels"] for x in (plain, grown))
    assert set(np.unique(large)) == {0, 1}
    assert (large >= small).all()
    assert large.sum() > 1.5 * small.sum()


def test_samples_depend_on_seed_and_index_alone(scans):
    def task(seed):
        found = regions(scans)
        return SegmentationTask(model_settings(), seed, found, None, {})

    a, b, c = task(0), task(0), task(1)
    for i in (5, 0, 3):
        assert all(torch.equal(a.sample(i)[k], b.sample(i)[k]) for k in ("image", "labels"))
    assert any(not torch.equal(a.sample(i)["image"], c.sample(i)["image"]) for i in range(4))
    images = {a.sample(i)["image"].numpy().tobytes() for i in range(8)}
    assert len(images) == 8


def test_patches_may_be_centred_on_some_structures_alone(scans):
    classes = [
        {"structure": "one", "side": "", "ids": {"": 1}},
        {"structure": "two", "side": "", "ids": {"": 2}},
    ]
    own = {"classes": classes, "training": {"centred_on": ["two"], "foreground": 1.0, "patch": [8, 8, 8]}}
    found = regions(scans, **own)
    task = SegmentationTask(model_settings(**own), 0, found, None, {})
    r = found.regions[0]
    labels = found.labels(r)
    room = np.array(r.shape) - 8
    for i in range(40):
        start = task._start(r, np.random.default_rng(i))
        centre = start + 4
        is_moved = ((start == 0) | (start == room)).any()  # a patch never leaves the region
        assert is_moved or labels[tuple(centre)] == 2
    assert {len(x.regions[0].places) for x in (found, regions(scans, classes=classes))} == {1, 2}


def test_grid_patches_start_at_both_ends_as_published(scans):
    found = regions(scans)
    options = {"patches": "grid", "augmentation": "none", "patch": [8, 8, 8]}
    task = SegmentationTask(model_settings(training=options), 0, found, None, {})
    r = found.regions[0]
    starts = {tuple(task._start(r, np.random.default_rng(i))) for i in range(60)}
    assert starts == {tuple(s) for s in np.array(np.meshgrid(*[[0, n - 8] for n in r.shape])).reshape(3, -1).T}


def test_no_usable_scan_is_an_error(scans):
    with pytest.raises(VolforgeError, match="no training scan"):
        regions(scans, classes=[{"structure": "x", "side": "", "ids": {"": 9}}])


@pytest.mark.parametrize("kind", ["none", "published", "light", "standard"])
def test_augmentation_is_drawn_by_index_and_keeps_labels_whole(kind):
    augmentation = Augmentation(kind, (16, 16, 16), ["image", "labels", "distance"], ["x", "y"], seed=3)
    size = augmentation.size
    assert size == ((22, 22, 22) if kind in ("light", "standard") else (16, 16, 16))
    torch.manual_seed(0)
    labels = (torch.rand(1, 1, *size) > 0.5).to(torch.uint8).repeat(3, 1, 1, 1, 1) * 2
    image = labels.float() - 1 + 0.1 * torch.rand(labels[:1].shape)
    batch = {"image": image, "labels": labels, "distance": image.repeat(1, 2, 1, 1, 1)}
    one = augmentation({**batch, "index": torch.tensor([4, 5, 4])})
    other = augmentation({**batch, "index": torch.tensor([5, 6, 7])})
    for k, channels in (("image", 1), ("labels", 1), ("distance", 2)):
        assert one[k].shape == (3, channels, 16, 16, 16)
    assert set(one["labels"].unique().tolist()) <= {0, 2}
    assert torch.equal(one["image"][1], other["image"][0])  # index 5, wherever it stands in a batch
    if kind != "none":
        assert torch.equal(one["image"][0], one["image"][2])
        assert not torch.equal(one["image"][0], one["image"][1])


def test_published_elastic_field_is_as_mild_as_measured():
    """White noise smoothed by 5 voxels times 30 has a deviation of 0.39 voxels."""
    from monai.transforms import Rand3DElastic

    elastic = Rand3DElastic(sigma_range=(5, 5), magnitude_range=(30, 30), prob=1.0)
    elastic.set_random_state(seed=0)
    size = (48, 48, 48)
    ramp = torch.arange(48.0)[None, :, None, None].expand(1, *size).clone()
    moved = elastic(ramp, padding_mode="border", mode="bilinear")
    off = (torch.as_tensor(moved) - ramp)[0, 12:36, 12:36, 12:36]
    assert 0.2 < float(off.std()) < 0.8


def test_settings_that_fit_no_network_are_refused(scans):
    found = regions(scans)
    task = SegmentationTask(model_settings(training={"patch": [18, 16, 16]}), 0, found, None, {})
    with pytest.raises(VolforgeError, match="no multiple of"):
        task.networks()
