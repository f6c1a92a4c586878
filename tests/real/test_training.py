"""Training and prediction on real volumes: MR crops smaller than the patch, and a whole head CT at full size."""

import json

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import volforge
from tests.study.cohorts import imported
from tests.training.cohort import TRAINING
from volforge.config.models import BodyMask, RegionRecipe
from volforge.volume.cut_scan import cut_scan

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("training")]
NETWORK = {"name": "residual_unet", "width": 8, "levels": 3, "blocks": [1], "norm": "batch"}


def train(folder, scans, recipe: dict, structures: dict[str, int], imported_as: dict, **training) -> None:
    """Cut, train some steps, leave folder/model."""
    settings = RegionRecipe(**recipe)
    for scan in sorted(p.name for p in (scans.parent / "scans").iterdir()):
        cut_scan(scans.parent / "scans" / scan, settings, scans.parent / "recipes/r" / scan)
    cohort = json.loads((scans.parent / "settings.json").read_text())
    (scans.parent / "settings.json").write_text(json.dumps({**cohort, **imported_as}))
    content = {
        "study": "s", "arm": "a", "model": "m", "task": "segmentation", "cohort": "c", "by_fold": False,
        "kind": "structures", "entry": "volforge.tasks.segmentation.train:train",
        "classes": [{"structure": n, "side": "", "ids": {"": i}} for n, i in structures.items()],
        "recipe": "r", "recipe_settings": json.loads(settings.model_dump_json()), "region": None, "dilate_mm": 5,
        "network": NETWORK, "loss": {"name": "dice_ce"}, "own": "",
        "training": {**TRAINING, "ema": 0, "validation": 0, "batch": 1, "augmentation": "none", "flip": [], "clip": 0,
            "precision": "bf16-mixed", **training},
    }  # fmt: skip
    (folder / "m.train.json").write_text(json.dumps(content))
    done = volforge(
        "model", "train", "--settings", folder / "m.train.json", "--scans", scans, "--out", folder / "model",
        "--checkpoints", folder / "checkpoints",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_mr_crops_smaller_than_the_patch(real, tmp_path):
    base = real / "msd_hippocampus"
    names = [f"hippocampus_{n}" for n in ("001", "003", "004", "006")]
    lines = ["subject\tscan\tmodality\timage\tlabels\tlabel_source\tsplit"]
    for i, n in enumerate(names):
        split = "test" if i == 3 else "train"
        lines.append(f"{n}\t{n}\tMR\t{base}/images/{n}.nii.gz\t{base}/labels/{n}.nii.gz\texpert\t{split}")
    structures = {"anterior": 1, "posterior": 2}
    # crops inside the head: all of it is body
    scans = imported(tmp_path, lines, structures, background="keep", body_mask=BodyMask(method="none"))
    recipe = {"kind": "region", "around": "image", "margin_mm": 0}
    as_is = {"background": "keep", "body_mask": {"method": "none"}}
    train(tmp_path, scans, recipe, structures, as_is, steps=60, patch=[48, 64, 48], rate=0.02, foreground=0)
    image = base / f"images/{names[3]}.nii.gz"
    done = volforge(
        "model", "predict", "--image", image, "--modality", "MR", "--weights", tmp_path / "model",
        "--out", tmp_path / "o.nii.gz",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made, source = nib.load(tmp_path / "o.nii.gz"), nib.load(image)
    assert made.shape == source.shape
    assert np.array_equal(made.affine, source.affine)
    truth = np.asanyarray(nib.load(base / f"labels/{names[3]}.nii.gz").dataobj) > 0
    found = np.asanyarray(made.dataobj) > 0
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.3  # 60 steps of three scans


@pytest.mark.slow
def test_a_whole_head_ct_is_segmented_on_its_own_grid(real, tmp_path):
    """The label is bone by intensity: a network of some steps finds it on a head that it has not seen."""
    head, other = real / "rire_001_ct_mr/ct_example.nii.gz", real / "vhf_head_ct/vhf_head_1mm_approxHU.nii.gz"
    ct = nib.load(head)
    bone = (np.asanyarray(ct.dataobj) > 300).astype(np.uint8)
    nib.save(nib.Nifti1Image(bone, ct.affine, ct.header), tmp_path / "bone.nii.gz")
    lines = ["subject\tscan\tmodality\tunit\timage\tlabels\tlabel_source\tsplit"]
    lines.append(f"a\ta\tCT\thu\t{head}\t{tmp_path}/bone.nii.gz\tderived\ttrain")
    scans = imported(tmp_path, lines, {"bone": 1})
    recipe = {
        "kind": "region",
        "around": "body",
        "spacing_mm": [2, 2, 2],
        "ct_window": {"kind": "hu", "low": -200, "high": 1200},
    }
    default = {"background": "air", "body_mask": {}}
    train(tmp_path, scans, recipe, {"bone": 1}, default, steps=40, patch=[48, 48, 48], rate=0.02)
    done = volforge(
        "model", "predict", "--image", other, "--weights", tmp_path / "model", "--out", tmp_path / "o.nii.gz",
        "--overlap", "0.25", "--confidence", tmp_path / "c.nii.gz",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made, source = nib.load(tmp_path / "o.nii.gz"), nib.load(other)
    assert made.shape == source.shape
    assert np.array_equal(made.affine, source.affine)
    found, truth = np.asanyarray(made.dataobj) > 0, np.asanyarray(source.dataobj) > 300
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.5
    sure = np.asanyarray(nib.load(tmp_path / "c.nii.gz").dataobj)
    assert (sure >= 0).all()
    assert (sure <= 1.001).all()
