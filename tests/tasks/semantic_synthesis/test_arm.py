"""A generator of a study: dealt domains, training, images of label maps in HU, measures."""

import csv
import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tests.conftest import ball_ct, save
from tests.study.cohorts import AFFINE, SHAPE, arm, imported, labels_of, measure, predict
from volforge.config.models import SliceRecipe
from volforge.config.training import Inference, Training
from volforge.errors import VolforgeError
from volforge.study.cases import Cohort
from volforge.study.jobs import TrainJob
from volforge.tasks.semantic_synthesis.options import Synthesis
from volforge.tasks.semantic_synthesis.predict import load_generator, painted
from volforge.tasks.semantic_synthesis.settings import SynthesisSettings, domains
from volforge.tasks.semantic_synthesis.train import task_of, train_generator
from volforge.volume.cut_scan import cut_scan
from volforge.volume.folders import read_json
from volforge.volume.geometry import Grid
from volforge.volume.store import SliceStore

RECIPE = SliceRecipe(kind="slices", spacing_mm=3, size=[16, 16], ct_window={"kind": "hu", "low": -1024, "high": 1500})
ANY = {"modality": "CT", "contrast": None}
MR = {"modality": "MR", "contrast": None}
PLAIN = Inference().model_dump() | {"threads": 1}
SMALL = {
    "segmenter": {"name": "oasis_segmenter", "width": 2, "levels": 2},
    "discriminator": {"name": "wavelet_discriminator", "width": 2, "most": 4},
}


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Three label maps alone, three CTs alone, and CTs with both for validation and test."""
    folder = tmp_path_factory.mktemp("cohort")
    lines = ["subject\tscan\tmodality\timage\tlabels\tlabel_source\tsplit"]
    for i in range(9):
        image = ball_ct(SHAPE, 9 + i % 3)
        save(folder / f"s{i}.nii.gz", image, AFFINE)
        save(folder / f"s{i}_l.nii.gz", labels_of(image), AFFINE)
        kind = ("MR", "", f"s{i}_l.nii.gz", "expert", "train") if i < 3 else ("CT", f"s{i}.nii.gz", "", "", "train")
        if i > 5:
            kind = ("CT", f"s{i}.nii.gz", f"s{i}_l.nii.gz", "expert", "val" if i == 6 else "test")
        lines.append(f"p{i}\ts{i}\t" + "\t".join(kind))
    found = imported(folder, lines, {"ball_left": 1, "ball_right": 2})
    for i in range(9):
        cut_scan(found.parent / "scans" / f"s{i}", RECIPE, found.parent / "recipes" / "slices" / f"s{i}")
    return found


def settings(mode="unpaired", source=MR, training=None, **more):
    own = Synthesis(mode=mode, **SMALL, **{"pairs": 1 if mode == "semi" else 0, **more}).plain()
    options = Training(steps=6, batch=2, ema=0.9, validate_every=3, flip=["x"], **(training or {})).model_dump()
    return SynthesisSettings.of(
        {
            "study": "s", "arm": "a", "model": "image", "task": "semantic_synthesis", "cohort": "c",
            "by_fold": False, "kind": "synthesis", "entry": "volforge.tasks.semantic_synthesis.train:train",
            "classes": [
                {"structure": "ball", "side": "left", "id": 1, "mirrored": 2},
                {"structure": "ball", "side": "right", "id": 2, "mirrored": 1},
            ],
            "recipe": "slices", "recipe_settings": json.loads(RECIPE.model_dump_json()), "source": source,
            "target": ANY, "network": {"name": "oasis_generator", "width": 1, "noise": 3, "blocks": 3, "hidden": 4},
            "synthesis": own, "training": options, "own": "",
        }
    )  # fmt: skip


def job_in(folder, scans):
    return TrainJob(scans, 0, 0, folder / "checkpoints", folder / "image")


@pytest.fixture(scope="module")
def model(scans, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    assert train_generator(settings(), job_in(folder, scans)) == ""
    return folder / "image"


def test_a_generator_s_folder_says_what_it_is(model):
    about = read_json(model / "model.json")
    assert about["subjects"] == {
        "labelled": ["p0", "p1", "p2"], "images": ["p3", "p4", "p5"], "pairs": [], "validation": ["p6"],
    }  # fmt: skip
    assert about["step"] in (3, 6)
    assert set(about["parameters_of"]) == {"generator", "segmenter", "discriminator"}
    assert about["multiply_adds"] > 16 * 16 * 9 * about["parameters_of"]["generator"] // 100
    with (model / "history.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [r["step"] for r in rows] == ["3", "6"]
    for name in ("segment", "adversarial", "outline", "validation_frechet", "validation_ssim", "validation_psnr_db"):
        assert np.isfinite(float(rows[-1][name])), name
    assert float(rows[-1]["validation_score"]) == pytest.approx(-float(rows[-1]["validation_frechet"]))


@pytest.mark.parametrize(("which", "step"), [("latest", 6), (3, 3), (6, 6)])
def test_the_weights_that_are_kept_can_be_chosen(scans, tmp_path, which, step):
    own = settings(training={"which": which})
    assert train_generator(own, job_in(tmp_path, scans)) == ""
    about = read_json(tmp_path / "image/model.json")
    assert (about["step"], about["steps"]) == (step, 6)
    assert load_generator(tmp_path / "image").settings.training["which"] == which


def test_label_maps_become_images_in_hu_on_the_grid_of_their_source(scans, model, tmp_path):
    own = arm(
        tmp_path, task="semantic_synthesis", structures=[{"structure": "ball", "side": "left", "id": 1}],
        inference={**PLAIN, "samples": 2}, baseline=None,
    )  # fmt: skip
    out = tmp_path / "out"
    assert predict(own, scans, 0, out / "predictions", models={"image": model}) == 2
    source = nib.load(scans.parents[3] / "s7.nii.gz")
    volumes = [nib.load(out / "predictions" / f"s7{n}.nii.gz") for n in ("", ".1")]
    for made in volumes:
        assert np.allclose(made.affine, source.affine)
        assert made.shape == source.shape
        values = np.asarray(made.dataobj)
        assert values.dtype == np.int16
        assert values.min() >= -1024
        assert values.max() <= 1500
    assert not np.array_equal(*(np.asarray(v.dataobj) for v in volumes))
    with (out / "predictions/samples.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [(r["scan"], r["sample"]) for r in rows] == [("s7", "0"), ("s7", "1"), ("s8", "0"), ("s8", "1")]
    assert len({r["latent_sha256"] for r in rows}) == 4
    sheet = np.asarray(Image.open(out / "predictions/s7.panel.png"))
    tiles = np.array_split(sheet, 4, axis=1)  # label map, real image, two samples
    assert sheet.std() > 5
    assert (np.ptp(tiles[0], axis=2) > 50).any()  # labels are coloured, images are grey
    assert not (np.ptp(tiles[1][:, 10:-10], axis=2) > 50).any()
    found = measure(own, scans, out)
    names = {r["measure"] for r in found}
    assert {"mae_hu", "outline_dice", "texture_sd_ratio", "slice_change_ratio", "diversity_ms_ssim"} <= names
    assert {r["side"] for r in found if r["measure"] == "texture_sd_ratio"} == {"left"}
    short = replace(own, inference={**own.inference, "truncation": 0.0})
    predict(short, scans, 0, tmp_path / "short", models={"image": model})
    first, second = ((tmp_path / f"short/s7{n}.nii.gz").read_bytes() for n in ("", ".1"))
    assert first == second  # nothing is left of the latents
    way = replace(own, inference={**own.inference, "samples": 3, "between": True})
    predict(way, scans, 0, tmp_path / "way", models={"image": model})
    with (tmp_path / "way/samples.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [r["share"] for r in rows[:3]] == ["0", "0.5", "1"]
    steps = [np.asarray(nib.load(tmp_path / f"way/s7{n}.nii.gz").dataobj, float) for n in ("", ".1", ".2")]
    assert np.array_equal(steps[0], np.asarray(volumes[0].dataobj))
    near, far = (np.abs(steps[0] - s).sum() for s in steps[1:])
    assert 0 < near < far
    local = replace(own, inference={**own.inference, "vary": ["ball"]})
    predict(local, scans, 0, tmp_path / "local", models={"image": model})
    with (tmp_path / "local/samples.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len({r["latent_sha256"] for r in rows[:2]}) == 1
    assert len({r["own_latent_sha256"] for r in rows[:2]}) == 2
    pair = [np.asarray(nib.load(tmp_path / f"local/s7{n}.nii.gz").dataobj, float) for n in ("", ".1")]
    assert np.array_equal(pair[0], steps[0])
    ball = np.asarray(nib.load(scans.parents[3] / "s7_l.nii.gz").dataobj) > 0
    change = np.abs(pair[1] - pair[0])
    assert change[ball].mean() > 2 * change[~ball].mean() > 0
    again = tmp_path / "again"
    predict(own, scans, 0, again, models={"image": model})
    assert (again / "s7.1.nii.gz").read_bytes() == (out / "predictions/s7.1.nii.gz").read_bytes()


def test_samples_are_drawn_from_the_seed_of_the_training(scans, model, tmp_path):
    own = arm(
        tmp_path, task="semantic_synthesis", structures=[{"structure": "ball", "side": "left", "id": 1}],
        inference=PLAIN, baseline=None,
    )  # fmt: skip
    found = []
    for seed in (0, 1):
        predict(own, scans, 0, tmp_path / str(seed), models={"image": model}, seed=seed)
        with (tmp_path / f"{seed}/samples.tsv").open() as file:
            found.append(list(csv.DictReader(file, delimiter="\t")))
    assert [{r["seed"] for r in rows} for rows in found] == [{"0"}, {"1"}]
    assert not {r["latent_sha256"] for r in found[0]} & {r["latent_sha256"] for r in found[1]}


def test_slices_are_painted_where_they_were_cut_for_training(tmp_path, model, monkeypatch):
    """About the body, which labels of a part of it are not the middle of."""
    from volforge.tasks.semantic_synthesis import paint as painting

    image = ball_ct(SHAPE, 12)
    labels = labels_of(image)
    labels[:, : SHAPE[1] // 2 + 4] = 0
    save(tmp_path / "s0.nii.gz", image, AFFINE)
    save(tmp_path / "s0_l.nii.gz", labels, AFFINE)
    head = "subject\tscan\tmodality\timage\tlabels\tlabel_source\tsplit"
    row = "p0\ts0\tCT\ts0.nii.gz\ts0_l.nii.gz\texpert\ttest"
    found = imported(tmp_path, [head, row], {"ball_left": 1, "ball_right": 2})
    cut = tmp_path / "cut"
    cut_scan(found.parent / "scans/s0", RECIPE, cut)
    seen = []
    inner = painting.paint
    monkeypatch.setattr(painting, "paint", lambda network, classes, *a, **k: seen.append(classes) or inner(
        network, classes, *a, **k
    ))  # fmt: skip
    own = arm(
        tmp_path, task="semantic_synthesis", structures=[{"structure": "ball", "side": "left", "id": 1}],
        inference=PLAIN, baseline=None,
    )  # fmt: skip
    predict(own, found, 0, tmp_path / "out", models={"image": model})
    assert np.array_equal(seen[0], SliceStore(cut)["labels"][:])


def test_a_label_map_that_no_cohort_knows_is_painted_too(scans, model):
    import torch

    generator = load_generator(model)
    labels = Cohort(scans).read("s0", "labels")  # it never had an image
    grid = Grid(labels.shape, np.diag([1.2, 1.5, 2.0, 1.0]))
    noise = torch.zeros(3)
    plain = painted(generator, labels, grid, noise, focus=labels > 0)
    assert plain.shape == labels.shape
    local = painted(generator, labels, grid, noise, focus=labels > 0, own={1: torch.full((3,), 4.0)})
    assert not np.array_equal(plain, local)


@pytest.mark.parametrize("mode", ["paired", "semi"])
def test_the_other_modes_train(scans, tmp_path, mode):
    own = settings(mode)
    if mode == "semi":  # its pairs come from images whose label maps are known
        with pytest.raises(VolforgeError, match="image and labels"):
            task_of(own, job_in(tmp_path, scans))
        return
    with pytest.raises(VolforgeError, match="image and labels"):  # no training CT has labels here
        train_generator(own, job_in(tmp_path, scans))


def test_subjects_that_could_give_both_are_dealt():
    rows = [
        {"subject": f"p{i}", "scan": f"s{i}", "modality": "CT", "contrast": "", "split": "train", "fold": ""}
        for i in range(10)
    ]
    found = domains(settings(source=ANY, training={"validation": 0.2}), rows, 0)
    parts = found.subjects
    assert not set(parts["labelled"]) & set(parts["images"])
    assert (len(parts["labelled"]), len(parts["images"]), len(parts["validation"])) == (4, 4, 2)
    assert domains(settings(source=ANY, training={"validation": 0.2}), rows[::-1], 0).subjects == parts
    semi = domains(settings("semi", source=ANY, training={"validation": 0.0}), rows, 0).subjects
    assert len(semi["pairs"]) == 1
    assert not set(semi["pairs"]) & (set(semi["labelled"]) | set(semi["images"]))
    paired = domains(settings("paired", source=ANY, training={"validation": 0.0}), rows, 0).subjects
    assert (len(paired["labelled"]), paired["images"]) == (10, [])


def test_damaged_weights_are_refused(model, tmp_path):
    import shutil

    shutil.copytree(model, tmp_path / "other")
    (tmp_path / "other/weights.safetensors").write_bytes(b"x")
    with pytest.raises(VolforgeError, match="not those that model"):
        load_generator(tmp_path / "other")


def test_what_a_scan_lacks_counts_nowhere():
    """Of ten CTs six have labels: pairs, and those that judge, are dealt among these alone."""
    rows = [
        {"subject": f"p{i}", "scan": f"s{i}", "modality": "CT", "contrast": "", "split": "train", "fold": "1"}
        for i in range(10)
    ]

    def holds(row, part):
        return part == "image" or int(row["scan"][1:]) < 6

    labelled = {f"p{i}" for i in range(6)}
    found = domains(settings("semi", source=ANY, pairs=2, training={"validation": 0.3}), rows, 0, holds)
    parts = found.subjects
    assert len(parts["pairs"]) == 2
    assert found.judged
    assert {*parts["pairs"], *parts["validation"], *parts["labelled"]} <= labelled
    with pytest.raises(VolforgeError, match="pairs of 9 subjects are asked for"):
        domains(settings("semi", source=ANY, pairs=9), rows, 0, holds)
