import numpy as np
import pytest

from volforge.cohort.phantoms import body, fields, skull, tmj
from volforge.cohort.phantoms.make import make_cohort
from volforge.volume.folders import read_json, sha256_of
from volforge.volume.geometry import reorientation_of
from volforge.volume.morphology import distance_inside


def test_the_same_seed_and_subject_give_the_same_bytes(tmp_path):
    rows = [{"subject": "s", "scan": "a", "modality": "MR", "case": ""}]
    for name in ("one", "two"):
        make_cohort("body", 3, rows, tmp_path / name, 12.0)
    assert sha256_of(tmp_path / "one") == sha256_of(tmp_path / "two")
    make_cohort("body", 4, rows, tmp_path / "three", 12.0)
    assert sha256_of(tmp_path / "one") != sha256_of(tmp_path / "three")


def test_a_new_row_changes_no_other_scan(tmp_path):
    rows = [{"subject": f"s{i}", "scan": f"a{i}", "modality": "mask", "case": "burr_box"} for i in range(2)]
    make_cohort("skull", 1, rows[:1], tmp_path / "one", 8.0)
    make_cohort("skull", 1, rows, tmp_path / "two", 8.0)
    assert sha256_of(tmp_path / "one/a0_image.nii.gz") == sha256_of(tmp_path / "two/a0_image.nii.gz")
    assert set(read_json(tmp_path / "two/truth.json")["scans"]) == {"a0", "a1"}


def test_skull_is_defective_plus_implant():
    for defect in skull.DEFECTS:
        scan = skull.draw(1, "s", defect, 5.0)
        complete, defective, implant = (scan.volumes[n] > 0 for n in ("image", "defective", "implant"))
        assert np.array_equal(complete, defective | implant)
        assert not (defective & implant).any()
        assert implant.sum() * 125 >= 8000
        assert scan.truth["implant_mm3"] == pytest.approx(implant.sum() * 125)


def test_jaw_gap_is_the_one_that_the_truth_names():
    """Above the condyle's centre the joint space is as wide as drawn, within a voxel."""
    scan = tmj.draw(1, "someone", "plain", 0.5)
    turn = reorientation_of(scan.grid.affine)
    labels = turn.apply(scan.volumes["labels"])
    spacing = turn.canonical(scan.grid).spacing_mm
    for side in ("left", "right"):
        condyle = labels == tmj.STRUCTURES[f"condyle_{side}"]
        bone = labels == tmj.STRUCTURES[f"temporal_bone_{side}"]
        assert condyle.any()
        assert bone.any()
        nearest = distance_inside(~bone, spacing)[condyle].min()
        truth = scan.truth["joints"][side]
        smallest = min(truth[f"gap_{d}_mm"] for d in ("anterior", "superior", "posterior"))
        assert nearest == pytest.approx(smallest, abs=1.2)


def test_contact_case_has_touching_bones_and_plain_has_not():
    touching = {}
    for case in ("plain", "contact"):
        labels = tmj.draw(2, "p", case, 0.8).volumes["labels"]
        gaps = []
        for c, t in ((1, 3), (2, 4)):
            near = distance_inside(labels != t, (0.8,) * 3)[labels == c].min()
            gaps.append(near)
        touching[case] = min(gaps)
    assert touching["contact"] <= 0.9
    assert touching["plain"] > 0.9


def test_threshold_does_not_solve_the_condyle():
    scan = tmj.draw(1, "a", "plain")
    labels, image = scan.volumes["labels"], scan.volumes["image"]
    from volforge.volume.morphology import components

    parts, _ = components(image > 300)
    condyle = labels == 1
    best = max(
        2 * (condyle & (parts == p)).sum() / (condyle.sum() + (parts == p).sum())
        for p in np.unique(parts[condyle])
        if p
    )
    assert best < 0.7


def test_ct_and_mr_of_a_subject_show_the_same_anatomy():
    ct, mr = (body.draw(1, "s", m, True, 8.0) for m in ("CT", "MR"))

    def inner(scan):
        labels = reorientation_of(scan.grid.affine).apply(scan.volumes["labels"])
        return np.isin(labels, [body.STRUCTURES[n] for n in ("lung", "liver")])

    assert np.array_equal(inner(ct), inner(mr))


def test_domain_gap_is_there():
    ct, mr = body.draw(1, "s", "CT", False), body.draw(1, "s", "MR", True)
    bone = body.STRUCTURES["cortical_bone"]
    assert ct.truth["arms"] == "up"
    assert mr.truth["arms"] == "down"
    assert ct.truth["field_of_view_rise_mm"] > 0
    assert np.median(mr.volumes["image"][mr.volumes["labels"] == bone]) < 0.5 * np.median(
        mr.volumes["image"][mr.volumes["labels"] == body.STRUCTURES["muscle"]]
    )
    couch = (ct.volumes["image"] > -400) & (ct.volumes["labels"] == 0)
    assert couch.sum() > 500


def test_texture_is_not_determined_by_the_map():
    ct = body.draw(1, "s", "CT", True)
    muscle = ct.volumes["image"][ct.volumes["labels"] == body.STRUCTURES["muscle"]]
    assert 25 < muscle.std() < 90


def test_grids_are_oblique_and_some_stored_along_other_axes():
    grids = [tmj.draw(1, f"s{i}", "plain", 2.0).grid for i in range(8)]
    from volforge.volume.geometry import axis_codes

    assert len({axis_codes(g.affine) for g in grids}) > 1
    off = [np.abs(g.affine[:3, :3]).min() for g in grids]
    assert min(off) > 0


def test_signed_distances_are_exact_for_spheres_and_rods():
    grid = fields.oblique_grid((40, 40, 40), (1.0, 1.0, 1.0), (0, 0, 0), (5, -3, 8))
    p = fields.world_points(grid)
    radius = np.sqrt(sum(x**2 for x in p))
    assert np.abs(fields.ellipsoid(p, (0, 0, 0), (9, 9, 9)) - (radius - 9)).max() < 1e-3
    rod = fields.capsule(p, (0, 0, -5), (0, 0, 5), 3, 3)
    z = np.clip(p[2], -5, 5)
    assert np.abs(rod - (np.sqrt(p[0] ** 2 + p[1] ** 2 + (p[2] - z) ** 2) - 3)).max() < 1e-3
