"""A finished implant and its files."""

import json

import numpy as np
import pytest

from tests.tasks.implant.making.phantoms import shell_masks
from volforge.tasks.implant.made import MakeOptions, make, write_made
from volforge.tasks.implant.making.drainage import Drainage
from volforge.tasks.implant.mesh import PrintOptions
from volforge.tasks.implant.post import PostOptions


def test_an_implant_is_finished_from_prediction_to_files(tmp_path):
    implant, bone, affine = shell_masks(gap_degrees=0.0, spacing=(0.7, 0.7, 0.7))
    prediction = implant | (bone & np.roll(implant, 4, axis=0))
    options = MakeOptions(PostOptions(gap_mm=0.8), PrintOptions(faces=20_000, space="LPS"), Drainage(3.0, 10.0, 5.0))
    made = make(prediction, bone, affine, options)
    assert not (made.mask & bone).any()
    assert made.mesh is not None
    assert made.fit is not None
    assert made.mesh.watertight
    assert made.mesh.mesh.euler == 2 - 2 * len(made.holes)  # every hole is a handle
    assert made.fit.gap.median_mm == pytest.approx(0.8, abs=0.35)
    write_made(tmp_path, made, options)
    record = json.loads((tmp_path / "implant.json").read_text())
    assert [s["step"] for s in record["steps"]] == [
        "minus_bone",
        "open",
        "components",
        "fill_holes",
        "clearance",
        "small_pieces",
    ]
    assert len(record["drainage"]["centres_ras_mm"]) == len(made.holes) >= 3
    last = record["steps"][-1]
    left = last["before_mm3"] - last["removed_mm3"] - record["drainage"]["removed_mm3"]
    assert made.mask.sum() * 0.7**3 == pytest.approx(left, rel=1e-4)
    assert record["fit"]["thickness_p5_mm"] == pytest.approx(6, abs=0.6)
    assert json.loads((tmp_path / "implant.mesh.json").read_text())["space"] == "LPS"
    for name in ("implant.stl", "implant.ply", "implant.gap_mm.ply", "implant.step_mm.ply", "implant.thickness_mm.ply"):
        assert (tmp_path / name).stat().st_size > 1000, name


def test_nothing_is_made_of_nothing(tmp_path):
    implant, bone, affine = shell_masks(spacing=(2.0, 2.0, 2.0))
    made = make(bone, bone, affine)
    assert not made.mask.any()
    write_made(tmp_path, made)
    assert [p.name for p in tmp_path.iterdir()] == ["implant.json"]
    assert json.loads((tmp_path / "implant.json").read_text())["mesh"] is None
