"""Measures of implants: what is counted of empty ones, rows of strata, and pictures."""

import numpy as np
import pytest
from PIL import Image

from tests.conftest import save
from tests.study.cohorts import METRICS, arm, imported, measure, predict
from tests.tasks.implant.skulls import INNER_MM, OUTER_MM
from volforge.metrics.measure import better, unit_of
from volforge.study.predictions import Prediction, read_predictions, write_predictions
from volforge.tasks.implant.making.fit import MEASURES
from volforge.tasks.implant.measure import BY_VOXELS
from volforge.tasks.implant.picture import implant_picture
from volforge.tasks.implant.rim import gap_volume_mm3, mean_thickness_mm

STEP = 2.5
STRUCTURES = [{"structure": "implant", "side": "", "id": 1}]


def skull(side):
    """A shell with a floor and a hole at one side: bone, implant, affine of a grid that is not RAS."""
    count = 72
    affine = np.diag([-STEP, -STEP, STEP, 1.0])
    affine[:3, 3] = [STEP * (count - 1) / 2] * 2 + [-STEP * (count - 1) / 2]
    x, y, z = (np.indices((count,) * 3)[a] * affine[a, a] + affine[a, 3] for a in range(3))
    r = np.sqrt(x**2 + y**2 + z**2)
    bone = (r < OUTER_MM) & (r > INNER_MM) | (np.abs(z + 40) < 4) & (r < OUTER_MM)
    hole = (x - side * 50) ** 2 + (y - 20) ** 2 + (z - 50) ** 2 < 25**2
    return bone & ~hole, bone & hole & (z > -30), affine


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("skulls")
    lines = ["subject\tscan\tmodality\timage\tdefective\timplant\tlabel_source\tsplit"]
    for name, side in (("right", 1), ("left", -1)):
        bone, implant, affine = skull(side)
        for part, mask in (("defective", bone), ("implant", implant), ("image", bone | implant)):
            save(folder / f"{name}_{part}.nii.gz", mask.astype(np.uint8), affine)
        lines.append(
            f"{name}\t{name}\tmask\t{name}_image.nii.gz\t{name}_defective.nii.gz\t{name}_implant.nii.gz\texpert\ttest"
        )
    return imported(folder, lines, {})


def of(rows, **wanted):
    return [r for r in rows if all(r[k] == v for k, v in wanted.items())]


def measured(folder, scans, **metrics):
    """The mirrored skull of one scan, and nothing (a file of zeros) of the other."""
    metrics = METRICS | {"legacy": True} | metrics
    settings = arm(folder, task="implant", structures=STRUCTURES, baseline="mirror", metrics=metrics)
    predict(settings, scans, 0, folder / "predictions")
    import nibabel as nib

    path = folder / "predictions/left.nii.gz"
    image = nib.load(path)
    save(path, np.zeros(image.shape, np.uint8), image.affine)
    return settings, measure(settings, scans, folder)


def test_an_empty_implant_has_an_overlap_of_0_and_no_distance(tmp_path, scans):
    _, rows = measured(tmp_path, scans, making=True, strata=True)
    good, bad = (of(rows, scan=s, structure="implant") for s in ("right", "left"))
    (dice,) = of(good, measure="dice")
    assert float(dice["value"]) > 0.6
    values = {r["measure"]: (r["value"], r["status"]) for r in bad}
    assert values["dice"] == values["boundary_dice_10mm"] == ("0", "empty_prediction")
    for name in ("hd_mm", "hd95_mm", "hd95_pooled_mm", "assd_mm", "nsd_1mm", *BY_VOXELS, *MEASURES):
        assert values[name] == ("", "empty_prediction"), name
    assert values["legacy_reconstruction_error_percent"][1] == "ok"
    # both have the same measures
    assert {r["measure"] for r in good} == set(values)
    assert set(MEASURES) < set(values)
    # a stratum is the same case again
    strata = {r["structure"] for r in rows} - {"implant"}
    assert {s.split("/")[0] for s in strata} == {"implant"}
    assert len(strata) >= 2
    size = next(
        r for r in of(rows, scan="right", measure="dice") if r["structure"].split("/")[-1] in ("small", "medium")
    )
    assert size["value"] == dice["value"]
    assert {r["measure"] for r in rows if r["structure"] in strata} == {
        "dice", "boundary_dice_10mm", "hd95_mm", "hd95_pooled_mm",
    }  # fmt: skip
    for file in ("right-0.png", "left-0.png"):
        assert Image.open(tmp_path / "cases" / file).size[0] > 800


def test_making_and_strata_are_asked_for(tmp_path, scans):
    _, rows = measured(tmp_path, scans)
    assert {r["structure"] for r in rows} == {"implant"}
    assert not {r["measure"] for r in rows} & set(MEASURES)
    assert set(BY_VOXELS) <= {r["measure"] for r in rows}


def test_a_missing_prediction_has_no_value_at_all(tmp_path, scans):
    settings, _ = measured(tmp_path, scans, making=True)
    folder = tmp_path / "predictions"
    given = read_predictions(folder)
    write_predictions(folder, [Prediction(p.scan, p.subject, p.reference, p.label_source) for p in given])
    rows = measure(settings, scans, tmp_path)
    assert {r["status"] for r in rows} == {"missing_prediction"}
    assert {r["value"] for r in rows} == {""}
    assert set(MEASURES) | set(BY_VOXELS) | {"dice"} <= {r["measure"] for r in rows}


@pytest.mark.parametrize(
    ("measure", "unit", "direction"),
    [
        ("rim_gap_p95_mm", "mm", "lower"), ("rim_gap_over_1mm_percent", "percent", "lower"),
        ("contour_step_outer_mm", "mm", "neither"), ("contour_step_outer_p95_mm", "mm", "lower"),
        ("insertion_trim_mm3", "mm3", "lower"), ("insertion_angle_deg", "degree", "neither"),
        ("thickness_p5_mm", "mm", "neither"), ("smallest_thickness_mm", "mm", "neither"),
        ("gap_volume_mm3", "mm3", "lower"), ("thickness_difference_mm", "mm", "neither"),
    ],
)  # fmt: skip
def test_units_and_directions(measure, unit, direction):
    assert (unit_of(measure), better(measure)) == (unit, direction)


def test_a_gap_is_what_is_missing_beside_the_bone():
    bone, reference = (np.zeros((30, 20, 20), bool) for _ in range(2))
    bone[:10], reference[10:20] = True, True
    prediction = reference.copy()
    prediction[10:12] = False  # beside the bone
    prediction[18:20] = False  # far from it
    assert gap_volume_mm3(prediction, reference, bone, (1.0, 1.0, 2.0)) == 2 * 20 * 20 * 2
    assert gap_volume_mm3(reference, reference, bone, (1.0, 1.0, 2.0)) == 0
    assert np.isnan(gap_volume_mm3(prediction, np.zeros_like(bone), bone, (1, 1, 1)))


@pytest.mark.parametrize("layers", [2, 4, 8])
def test_mean_thickness_of_a_slab(layers):
    mask = np.zeros((80, 80, 20), bool)
    mask[2:78, 2:78, 5 : 5 + layers] = True
    edges = 2 * layers / 76  # they are nearer to the surface
    assert mean_thickness_mm(mask, (0.5, 0.5, 0.5)) == pytest.approx(layers * 0.5, rel=edges + 1e-6)
    assert np.isnan(mean_thickness_mm(np.zeros_like(mask), (1, 1, 1)))


def test_pictures_show_squares_of_the_patient(scans):
    bone, implant, _ = skull(1)
    moved = np.roll(implant, 2, axis=2)
    picture = implant_picture(bone, moved, implant, (STEP,) * 3)
    height, width, _ = picture.shape
    assert width / height == pytest.approx(4 / 3, abs=0.02)
    orange, blue = ((np.abs(picture.astype(int) - c).sum(axis=2) < 90).sum() for c in ((230, 159, 0), (86, 180, 233)))
    assert orange > 50
    assert blue > 50
    same = implant_picture(bone, implant, implant, (STEP,) * 3)
    assert (np.abs(same.astype(int) - (230, 159, 0)).sum(axis=2) < 60).sum() == 0
    nothing = implant_picture(bone, None, implant, (STEP,) * 3)
    assert nothing.shape == picture.shape
    assert implant_picture(bone, None, np.zeros_like(bone), (STEP,) * 3).any()
