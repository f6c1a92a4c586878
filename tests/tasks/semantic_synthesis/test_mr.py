"""Generators of MR images, in percent of each scan's own window, with label maps and images of the same scans."""

from dataclasses import fields

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import ball_ct, save
from tests.study.cohorts import AFFINE, METRICS, SHAPE, arm, imported, labels_of, measure, predict
from tests.tasks.semantic_synthesis.test_arm import MR, PLAIN, job_in, settings
from volforge.config.models import SliceRecipe
from volforge.judging.judge import train_judge
from volforge.study.cases import Cohort
from volforge.tasks.semantic_synthesis.settings import SynthesisSettings
from volforge.tasks.semantic_synthesis.train import train_generator
from volforge.volume.cut_scan import cut_scan
from volforge.volume.folders import read_json

RECIPE = SliceRecipe(kind="slices", spacing_mm=3, size=[16, 16])
SAME = {"source": MR, "target": MR}


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Five MR scans with label maps, whose scales differ threefold."""
    folder = tmp_path_factory.mktemp("cohort")
    lines = ["subject\tscan\tmodality\timage\tlabels\tlabel_source\tsplit"]
    rng = np.random.default_rng(0)
    for i in range(5):
        ball = ball_ct(SHAPE, 9 + i % 3)
        inside = labels_of(ball)
        values = np.choose(inside, [5, 60, 90]) + 4 * rng.standard_normal(SHAPE)
        save(folder / f"s{i}.nii.gz", (np.clip(values, 0, None) * (1 + i)).astype(np.int16), AFFINE)
        save(folder / f"s{i}_l.nii.gz", inside, AFFINE)
        split = "test" if i > 2 else "train"
        lines.append(f"p{i}\ts{i}\tMR\ts{i}.nii.gz\ts{i}_l.nii.gz\texpert\t{split}")
    found = imported(folder, lines, {"ball_left": 1, "ball_right": 2})
    for i in range(5):
        cut_scan(found.parent / "scans" / f"s{i}", RECIPE, found.parent / "recipes" / "slices" / f"s{i}")
    return found


def mr_settings(mode):
    own = settings(mode, training={"validation": 0.0})
    content = {f.name: getattr(own, f.name) for f in fields(own)}
    content["classes"] = [vars(c) for c in own.classes]
    synthesis = dict(own.synthesis) | ({"discriminator": None} if mode == "paired" else {})
    return SynthesisSettings.of({**content, **SAME, "synthesis": synthesis})


def mr_arm(folder, **more):
    metrics = METRICS | {"range_hu": [0, 100], "window_hu": [0, 100], "segmenter_steps": 20, "utility": True}
    return arm(folder, task="semantic_synthesis", metrics=metrics, inference=PLAIN, **SAME, **more)


@pytest.mark.parametrize("mode", ["paired", "semi"])
def test_images_are_made_and_measured_in_percent(scans, tmp_path, mode):
    own = mr_arm(tmp_path)
    assert train_generator(mr_settings(mode), job_in(tmp_path, scans)) == ""
    about = read_json(tmp_path / "image/model.json")
    assert ("discriminator" in about["parameters_of"]) == (mode == "semi")
    assert len(about["subjects"]["pairs"]) == (mode == "semi")
    train_judge(own, scans, 0, 0, tmp_path / "judge")
    out = tmp_path / "out"
    assert predict(own, scans, 0, out / "predictions", models={"image": tmp_path / "image"}) == 2
    made = np.asarray(nib.load(out / "predictions/s3.nii.gz").dataobj)
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert made.max() <= 100
    judge = tmp_path / "judge/weights.safetensors"
    names = {r["measure"] for r in measure(own, scans, out, judge=judge)}
    assert {"mae", "psnr_db", "outline_dice", "segmenter_dice_ratio", "utility_dice", "texture_sd_ratio"} <= names
    assert not {n for n in names if n.endswith("_hu")}


def test_scales_of_scans_do_not_matter(scans):
    cohort = Cohort(scans)
    images = [cohort.target_image(f"s{i}") for i in (0, 3)]
    for name, image in zip(("s0", "s3"), images, strict=True):
        body = cohort.body(name, image.shape)
        assert np.percentile(image[body], [0.5, 99.5]) == pytest.approx([0, 100], abs=0.5)
        assert (image[~body] == 0).all()
    raw = [cohort.read(f"s{i}", "image").max() for i in (0, 3)]
    assert raw[1] > 3 * raw[0]


@pytest.mark.parametrize("baseline", ["mean_painting", "white_noise", "other_subject", "real", "constant"])
def test_controls_of_mr_are_in_percent_too(scans, tmp_path, baseline):
    own = mr_arm(tmp_path, baseline=baseline)
    train_judge(own, scans, 0, 0, tmp_path / "judge")
    out = tmp_path / "out"
    assert predict(own, scans, 0, out / "predictions") == 2
    rows = measure(own, scans, out, judge=tmp_path / "judge/weights.safetensors")
    found = {r["measure"]: float(r["value"]) for r in rows if r["scan"] == "s3" and r["value"]}
    assert 0 <= found["mae"] < 100
    if baseline == "real":
        assert found["mae"] == pytest.approx(0, abs=1e-3)
        assert found["segmenter_dice_ratio"] == 1
        assert found["outline_dice"] > 0.95
