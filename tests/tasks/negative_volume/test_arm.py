"""Negative volumes of a study: label maps in; volumes, meshes, numbers and failures out."""

import csv
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tests.conftest import save, volforge
from tests.shape.joints import UNDER_FOSSA_MM3, joint
from tests.study.cohorts import METRICS, arm, imported, measure, predict
from volforge.study.cases import Cohort
from volforge.study.measures import read_measures
from volforge.study.predictions import Prediction, read_predictions, write_predictions
from volforge.study.strips import read_strips
from volforge.volume.voxelise import read_surface

IDS = {"condyle_left": 1, "condyle_right": 2, "temporal_left": 3, "temporal_right": 4}
STEP = 0.8
REPEATS = {"shifts": 0, "noises": 0, "noise_hu": 30.0, "offset_hu": 0.0, "seed": 0, "widths": False}


def head(right_gap=4.0, without=()):
    """Both joints side by side in one label map, on a grid that is not RAS."""
    left = joint((STEP,) * 3, extent=48)
    right = joint((STEP,) * 3, extent=48, gap=right_gap)
    halves = []
    for one, ids in ((left, (1, 3)), (right, (2, 4))):
        labels = np.zeros(one.condyle.shape, np.uint8)
        labels[one.barrier] = ids[1] if f"temporal_{ids[1]}" not in without else 0
        labels[one.condyle] = ids[0] if f"condyle_{ids[0]}" not in without else 0
        halves.append(labels)
    values = np.concatenate([halves[0], halves[1][::-1]], axis=0)
    affine = np.diag([STEP, STEP, STEP, 1.0])
    affine[:3, 3] = (-48, -24, -24)
    # stored from right to left, as LAS
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = values.shape[0] - 1
    return values[::-1], affine @ flip


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    lines = ["subject\tscan\tmodality\timage\tlabels\tlabel_source\tsplit"]
    cases = {"even": {}, "wide": {"right_gap": 5.0}, "half": {"without": ("condyle_2",)}}
    for name, options in cases.items():
        values, affine = head(**options)
        save(folder / f"{name}.nii.gz", values, affine)
        image = np.where(values > 0, 1200, 40).astype(np.int16)
        image[:, :, -3:] = -1000  # air, so that the unit can be told
        save(folder / f"{name}_ct.nii.gz", image, affine)
        lines.append(f"{name}\t{name}\tCT\t{name}_ct.nii.gz\t{name}.nii.gz\texpert\ttest")
    return imported(folder, lines, IDS)


def joint_options(**more):
    inflation = {
        "labels_from": "labels",
        "method": "ray",
        "structure": None,
        "enhance": False,
        "widths": True,
        "meshes": True,
    }
    inflation |= {k: more.pop(k) for k in list(more) if k in inflation}
    return {
        "derive": None, "r_max_mm": 14.0, "cube_mm": 30.0, "step_mm": None, "sensitivity_mm": [8.0], "width": "labels",
        "ball_mm": 15.0, "repeatability": REPEATS, "inflation": inflation, "accelerator": "cpu", "joint_space_mm": None,
        "sides": {
            "left": {"condyle": [1], "barrier": [3], "others": [], "drawn": []},
            "right": {"condyle": [2], "barrier": [4], "others": [], "drawn": []},
        },
    } | more  # fmt: skip


def settings(folder, **more):
    name = more.pop("arm", "labels")
    metrics = {**METRICS, "near": None}
    return arm(folder, arm=name, task="negative_volume", structures=[], metrics=metrics, joint=joint_options(**more))


@pytest.fixture(scope="module")
def labels_arm(scans, tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    predict(
        settings(folder, repeatability=REPEATS | {"shifts": 2, "noises": 2, "offset_hu": 50.0, "widths": True}),
        scans,
        0,
        folder / "predictions",
    )
    return folder


def measured(own, scans, folder, reference):
    return measure(own, scans, folder, reference=reference / "predictions")


def value(rows, scan, side, structure, measure):
    found = [
        r for r in rows if (r["scan"], r["side"], r["structure"], r["measure"]) == (scan, side, structure, measure)
    ]
    assert len(found) == 1, (scan, side, structure, measure, len(found))
    return found[0]


def test_both_sides_have_the_exact_joint_space(scans, labels_arm):
    rows = measured(settings(labels_arm), scans, labels_arm, labels_arm)
    for side in ("left", "right"):
        space = value(rows, "even", side, "joint_space", "joint_space_mm3")
        assert float(space["value"]) == pytest.approx(UNDER_FOSSA_MM3, rel=0.05)
        assert (space["unit"], space["label_source"], space["status"]) == ("mm3", "expert", "ok")
        assert float(value(rows, "even", side, "joint_space", "joint_space_mean_mm")["value"]) == pytest.approx(
            4, abs=0.15
        )
        within = value(rows, "even", side, "joint_space", "joint_space_within_8_mm3")
        assert float(within["value"]) == pytest.approx(UNDER_FOSSA_MM3, rel=0.06)
    assert float(value(rows, "even", "", "joint_space", "asymmetry_index_percent")["value"]) < 1
    wide = value(rows, "wide", "", "joint_space", "asymmetry_signed_percent")
    exact = 2 * np.pi / 3 * (11**3 - 6**3)
    index = 100 * (UNDER_FOSSA_MM3 - exact) / (0.5 * (UNDER_FOSSA_MM3 + exact))
    assert float(wide["value"]) == pytest.approx(index, abs=2)
    assert float(value(rows, "even", "", "condyle", "mirrored_dice")["value"]) > 0.97


def test_a_side_without_a_condyle_is_a_failure_and_the_other_is_measured(scans, labels_arm):
    rows = measured(settings(labels_arm), scans, labels_arm, labels_arm)
    failed = value(rows, "half", "right", "joint_space", "joint_space_mm3")
    assert (failed["value"], failed["status"]) == ("", "empty_prediction")
    assert value(rows, "half", "left", "joint_space", "joint_space_mm3")["status"] == "ok"
    assert value(rows, "half", "", "joint_space", "asymmetry_index_percent")["status"] == "empty_prediction"
    names = {
        side: {r["measure"] for r in rows if (r["scan"], r["side"]) == ("half", side)} for side in ("left", "right")
    }
    assert names["right"] == names["left"]  # or means were over the easy sides
    whole = {(r["measure"], r["structure"]) for r in rows if (r["scan"], r["side"]) == ("even", "")}
    assert whole == {(r["measure"], r["structure"]) for r in rows if (r["scan"], r["side"]) == ("half", "")}
    content = json.loads((labels_arm / "predictions/shapes/half/negative_volume.json").read_text())
    assert content["sides"]["right"] == {"status": "failed", "message": "the condyle is empty", "flags": []}


def test_repeats_give_correlation_and_detectable_change(scans, labels_arm):
    rows = measured(settings(labels_arm), scans, labels_arm, labels_arm)
    found = {r["measure"]: r for r in rows if r["measure"].startswith("repeatability")}
    assert float(found["repeatability_shift_icc_joint_space"]["value"]) > 0.9
    assert (
        0 < float(found["repeatability_shift_change_joint_space_percent"]["value"]) < 20
    )  # the flat rim falls to this layer of voxels or that
    assert "repeatability_shift_icc_joint_space_mean" in found
    assert found["repeatability_shift_icc_joint_space"]["n"] == "5"  # joints
    assert float(found["repeatability_noise_icc_joint_space"]["value"]) > 0.99  # a sharp edge, little noise
    assert float(found["repeatability_offset_change_negative_volume_percent"]["value"]) < 1
    content = json.loads((labels_arm / "predictions/shapes/even/negative_volume.json").read_text())
    repeats = content["sides"]["left"]["repeats"]
    assert {kind: len(v["joint_space_mm3"]) for kind, v in repeats.items()} == {"shift": 2, "noise": 2, "offset": 3}


def test_the_label_map_lies_on_the_grid_of_its_source(scans, labels_arm):
    source = nib.load(scans.parents[3] / "even.nii.gz")
    made = nib.load(labels_arm / "predictions/even.nii.gz")
    assert np.allclose(made.affine, source.affine)
    values, bones = np.asarray(made.dataobj), np.asarray(source.dataobj)
    assert set(np.unique(values)) == {0, 1, 2, 3, 4}
    # the working grid is finer: a voxel of bone may hold a little of the space
    assert ((values > 0) & (bones > 0)).sum() < 0.06 * (values > 0).sum()
    for core, rest in ((2, 1), (4, 3)):
        assert (values == core).sum() * STEP**3 == pytest.approx(UNDER_FOSSA_MM3, rel=0.07)
        assert (values == rest).any()
    # left ids lie where the left bones do
    assert abs(np.argwhere(values == 2)[:, 0].mean() - np.argwhere(bones == 1)[:, 0].mean()) < 3


def test_meshes_are_closed_and_in_patient_coordinates(scans, labels_arm):
    folder = labels_arm / "predictions/shapes/even"
    record = json.loads((folder / "negative_volume.json").read_text())
    for side, centre in (("left", -24), ("right", 24)):
        for name in ("condyle", "negative_volume"):
            vertices, faces, flags = read_surface(folder / f"{side}_{name}.stl", "lps")
            assert flags == []
            assert vertices[:, 0].mean() == pytest.approx(centre, abs=2)
        assert (folder / f"{side}_barrier.ply").exists()
        assert record["sides"][side]["condyle_surface"]["watertight"]
        assert record["sides"][side]["clip_cube"]["edge_mm"] == 30
        assert sum(record["sides"][side]["stops"].values()) == pytest.approx(1)
        histogram = record["sides"][side]["width_histogram"]
        assert sum(b["area_mm2"] for b in histogram) == pytest.approx(record["sides"][side]["facing_area_mm2"])


@pytest.mark.parametrize("method", ["mesh", "geodesic", "euclid", "ball"])
def test_other_methods_are_compared_with_the_rays(scans, labels_arm, tmp_path, method):
    own = settings(tmp_path, arm=method, method=method, widths=False, meshes=False)
    predict(own, scans, 0, tmp_path / "predictions")
    rows = measured(own, scans, tmp_path, labels_arm)
    dice = float(value(rows, "even", "left", "joint_space", "dice")["value"])
    assert dice > {"mesh": 0.95, "geodesic": 0.97, "euclid": 0.8, "ball": 0.8}[method]
    assert value(rows, "even", "", "joint_space", "index_error_percent")["status"] == "ok"
    assert value(rows, "half", "right", "joint_space", "dice")["status"] in ("absent", "empty_prediction")
    cases = list(csv.DictReader((tmp_path / "cases/cases.tsv").open(), delimiter="\t"))
    assert {c["scan"] for c in cases} == {"even", "wide", "half"}
    assert not list((tmp_path / "cases").glob("*.view.json"))
    (strip,) = read_strips(tmp_path / "cases")
    assert (strip.place, strip.label) == ("arm", f"{method}: labels by hand")
    assert strip.caption.startswith("even, left joint, from below")  # the first of the reference, whatever the arm
    shown = np.asarray(Image.open(tmp_path / "cases/strips" / strip.file))
    assert all(0.2 < (part.max(axis=2) > 0).mean() < 1 for part in np.split(shown, 3))


def test_predicted_labels_are_named_so_and_missing_ones_are_counted(scans, labels_arm, tmp_path):
    cohort = Cohort(scans)
    folder = tmp_path / "segmented"
    folder.mkdir()
    predictions = []
    for scan in ("even", "wide", "half"):
        if scan == "wide":
            predictions.append(Prediction(scan, scan, scan, "expert"))
            continue
        shutil.copy(scans.parents[3] / f"{scan}.nii.gz", folder / f"{scan}.nii.gz")
        predictions.append(Prediction(scan, scan, scan, "expert", file=f"{scan}.nii.gz"))
    write_predictions(folder, predictions)
    own = settings(tmp_path, arm="net", labels_from="seg/net")
    predict(own, scans, 0, tmp_path / "predictions", labels=folder)
    rows = measured(own, scans, tmp_path, labels_arm)
    assert value(rows, "even", "left", "joint_space", "joint_space_mm3")["label_source"] == "predicted"
    assert value(rows, "even", "left", "joint_space", "dice") | {} == {
        **value(rows, "even", "left", "joint_space", "dice"), "value": "1", "label_source": "expert"
    }  # fmt: skip
    assert value(rows, "wide", "left", "joint_space", "dice")["status"] == "missing_prediction"
    assert value(rows, "wide", "left", "joint_space", "joint_space_mm3")["status"] == "missing_prediction"
    assert float(value(rows, "even", "", "joint_space", "index_error_percent")["value"]) == 0
    assert {p.scan for p in read_predictions(tmp_path / "predictions") if not p.file} == {"wide"}
    assert cohort.has("even", "labels")
    views = sorted(p.name for p in (tmp_path / "cases").glob("*.view.json"))
    assert views
    view = json.loads((tmp_path / "cases" / views[0]).read_text())
    assert {"condyle", "barrier", "joint space", "rest"} == set(view["sides"]["left"])
    part = view["sides"]["left"]["condyle"]
    vertices = np.cumsum(np.reshape(part["vertices"], (-1, 3)), axis=0) * view["step_mm"]
    mesh = read_surface(tmp_path / "predictions/shapes" / views[0].split("-0.view")[0] / "left_condyle.stl", "lps")[0]
    assert np.allclose(vertices.min(axis=0), mesh.min(axis=0), atol=0.5)
    assert np.allclose(vertices.max(axis=0), mesh.max(axis=0), atol=0.5)
    faces = np.cumsum(part["faces"])
    assert (faces.min(), faces.max()) == (0, len(vertices) - 1)


def test_direct_segmentations_of_the_space_are_measured_as_they_are(scans, labels_arm, tmp_path):
    cohort = Cohort(scans)
    folder = tmp_path / "segmented"
    folder.mkdir()
    record = cohort.record("even")
    labels = cohort.read("even", "labels")
    made = np.asarray(nib.load(labels_arm / "predictions/even.nii.gz").dataobj)[::-1]  # to RAS
    labels = np.where((labels == 0) & np.isin(made, (2,)), 5, labels)
    save(folder / "even.nii.gz", labels.astype(np.uint8), np.array(record["grid"]["affine"]))
    write_predictions(folder, [Prediction("even", "even", "even", "expert", file="even.nii.gz")])
    options = joint_options(method="direct", labels_from="seg/net", structure="ball", meshes=False)
    options["sides"]["left"]["drawn"], options["sides"]["right"]["drawn"] = [5], [6]
    own = arm(tmp_path, arm="direct", task="negative_volume", structures=[], metrics=METRICS, joint=options)
    predict(own, scans, 0, tmp_path / "predictions", labels=folder)
    rows = measured(own, scans, tmp_path, labels_arm)
    assert float(value(rows, "even", "left", "joint_space", "dice")["value"]) > 0.9
    assert float(value(rows, "even", "right", "negative_volume", "negative_volume_mm3")["value"]) == 0


def test_an_arm_is_inflated_and_measured_by_hand(scans, labels_arm, tmp_path):
    """The commands that runs of older versions printed; those of all tasks do the same now."""
    settings(tmp_path, widths=False, meshes=False, sensitivity_mm=[])
    done = volforge(
        "shape", "inflate-arm", "--settings", tmp_path / "predict.json", "--scans", scans, "--out",
        tmp_path / "predictions",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    reference = labels_arm / "predictions"
    done = volforge(
        "shape", "measure-arm", "--settings", tmp_path / "settings.json", "--scans", scans, "--predictions",
        tmp_path / "predictions", "--reference", reference, "--out", tmp_path / "m.tsv", "--cases", tmp_path / "cases",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert value(read_measures(tmp_path / "m.tsv"), "even", "left", "joint_space", "dice")["value"] == "1"


def test_a_speck_of_condyle_ends_no_arm(tmp_path):
    values, affine = head()
    lines = ["subject\tscan\tmodality\tlabels\tlabel_source\tsplit"]
    speck = values.copy()
    middle = np.argwhere(values == 2).mean(axis=0).astype(int)
    speck[values == 2] = 0
    x, y, z = middle
    speck[x : x + 2, y : y + 2, z] = 2
    bare = np.where(values == 4, 0, values)
    for name, labels in (("speck", speck), ("bare", bare)):
        save(tmp_path / f"{name}.nii.gz", labels, affine)
        lines.append(f"{name}\t{name}\tmask\t{name}.nii.gz\texpert\ttest")
    scans = imported(tmp_path, lines, IDS)
    own = settings(tmp_path, widths=False, meshes=True, repeatability=REPEATS | {"shifts": 4})
    assert predict(own, scans, 0, tmp_path / "predictions") == 2
    record = json.loads((tmp_path / "predictions/shapes/speck/negative_volume.json").read_text())
    assert len(record["sides"]["right"]["repeats"]["shift"]["joint_space_mm3"]) == 4
    assert None in record["sides"]["right"]["repeats"]["shift"]["joint_space_mm3"]
    assert None not in record["sides"]["left"]["repeats"]["shift"]["joint_space_mm3"]
    # meshes without widths
    assert (tmp_path / "predictions/shapes/bare/left_barrier.stl").exists()
    assert "joint_space_mean_mm" not in record["sides"]["left"]
    # a side without a barrier has no joint space to compare, which is not one of 0
    rows = measured(own, scans, tmp_path, tmp_path)
    unknown = value(rows, "bare", "right", "joint_space", "joint_space_mm3")
    assert (unknown["value"], unknown["status"]) == ("", "undefined")
    assert value(rows, "bare", "", "joint_space", "asymmetry_index_percent")["status"] == "undefined"
    assert value(rows, "bare", "", "negative_volume", "asymmetry_index_percent")["status"] == "ok"
    within = value(rows, "bare", "right", "joint_space", "joint_space_within_8_mm3")
    assert within["status"] == "undefined"


def test_the_bones_that_were_taken_are_kept(scans, labels_arm):
    source = np.asarray(nib.load(scans.parents[3] / "even.nii.gz").dataobj)
    bones = np.asarray(nib.load(labels_arm / "predictions/shapes/even/bones.nii.gz").dataobj)
    for taken, given in ((1, 1), (2, 3), (3, 2), (4, 4)):
        assert np.array_equal(bones == taken, source == given)


def test_widths_from_an_image_that_is_not_there_are_not_those_of_labels(tmp_path):
    values, affine = head()
    save(tmp_path / "a.nii.gz", values, affine)
    lines = ["subject\tscan\tmodality\tlabels\tlabel_source\tsplit", "a\ta\tmask\ta.nii.gz\texpert\ttest"]
    scans = imported(tmp_path, lines, IDS)
    predict(settings(tmp_path, width="image", meshes=False), scans, 0, tmp_path / "predictions")
    left = json.loads((tmp_path / "predictions/shapes/a/negative_volume.json").read_text())["sides"]["left"]
    assert "no_image" in left["flags"]
    assert "joint_space_mean_mm" not in left


def test_surface_elements_have_their_own_names(scans, labels_arm, tmp_path):
    own = settings(tmp_path, arm="ball", method="ball", widths=False, meshes=False)
    predict(own, scans, 0, tmp_path / "predictions")
    metrics = {**METRICS, "near": None, "surface": "elements"}
    own = arm(tmp_path, arm="ball", task="negative_volume", structures=[], metrics=metrics, joint=joint_options())
    rows = measured(own, scans, tmp_path, labels_arm)
    assert value(rows, "even", "left", "joint_space", "hd95_elements_mm")["status"] == "ok"
    assert not [r for r in rows if r["measure"] == "hd95_mm"]
