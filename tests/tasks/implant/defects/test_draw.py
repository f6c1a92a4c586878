"""Defects that are drawn: as asked, decided by their seed words, the same on any grid, or refused with reasons."""

import json

import numpy as np
import pytest

from tests.tasks.implant.skulls import shell
from volforge.cohort.phantoms import skull as phantom
from volforge.errors import VolforgeError
from volforge.tasks.implant.defects import on_line as on_line_module
from volforge.tasks.implant.defects.draw import DefectOptions, draw_defect
from volforge.tasks.implant.defects.head import PLACES
from volforge.tasks.implant.defects.on_line import on_line
from volforge.tasks.implant.defects.shapes import KINDS
from volforge.tasks.implant.defects.sizes import SIZES, size_of
from volforge.tasks.implant.defects.vault import vault_of
from volforge.tasks.implant.strata import stratum_of


def drawn(subject, spacing_mm=None):
    scan = phantom.draw(1, subject, "irregular", spacing_mm)
    return scan.volumes["image"] > 0, scan.grid


@pytest.fixture(scope="module")
def head():
    mask, grid = drawn("s1", 2.5)
    return mask, grid, vault_of(mask, grid.affine)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_a_defect_is_what_was_asked_for(head, kind, place):
    mask, grid, vault = head
    for size in ("any", *SIZES):
        defect = draw_defect(mask, grid.affine, DefectOptions(kind, place, size), ("a", kind, place, size), vault)
        implant, defective = defect.mask & mask, mask & ~defect.mask
        record = json.loads(json.dumps(defect.record))
        assert np.array_equal(implant, defect.mask)
        assert np.array_equal(implant | defective, mask)
        assert not (implant & defective).any()
        assert record["kind"] == kind
        assert record["place"] == place
        assert record["size_cm3"] == pytest.approx(implant.sum() * grid.voxel_mm3 / 1000, abs=1e-3)
        assert record["size"] == size_of(record["size_cm3"])
        assert size in ("any", record["size"])
        assert record["size_cm3"] >= 5
        assert record["kept_share"] >= 0.6
        assert record["contact_mm2"] >= 100
        assert record["one_piece_share"] >= 0.99
        # geometry alone says the same, with the hole too
        assert stratum_of(implant, mask, grid.affine) == (place, record["size"])
        assert stratum_of(implant, defective, grid.affine) == (place, record["size"])


def test_seed_words_decide_everything(head):
    mask, grid, vault = head
    options = DefectOptions("irregular")
    one, again = (draw_defect(mask, grid.affine, options, ("c", "x", 3)) for _ in range(2))
    kept = draw_defect(mask, grid.affine, options, ("c", "x", 3), vault)
    other = draw_defect(mask, grid.affine, options, ("c", "x", 4), vault)
    assert np.array_equal(one.mask, again.mask)
    assert one.record == again.record == kept.record
    assert not np.array_equal(one.mask, other.mask)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", ["any", "large"])
def test_another_grid_gives_the_same_defect(kind, size):
    """Fine and straight against coarse, anisotropic and oblique: volume within 5 %, centroids within a voxel."""
    volumes, centres = [], []
    for spacing, tilt in (((1.5, 1.5, 1.5), (0.0, 0.0, 0.0)), ((2.0, 2.4, 3.5), (15.0, -8.0, 12.0))):
        mask, affine = shell(spacing, tilt)
        defect = draw_defect(mask, affine, DefectOptions(kind, "any", size), ("grid", kind, 1))
        volumes.append(defect.record["size_cm3"])
        centres.append((np.argwhere(defect.mask) @ affine[:3, :3].T + affine[:3, 3]).mean(axis=0))
    assert volumes[1] == pytest.approx(volumes[0], rel=0.05)
    assert np.linalg.norm(centres[0] - centres[1]) < 2.0


def test_the_order_of_axes_in_memory_and_in_the_file_plays_no_part(head):
    mask, grid, _ = head
    options = DefectOptions("burr_box", "parietal")
    first = draw_defect(mask, grid.affine, options, ("order",)).mask
    fortran = draw_defect(np.asfortranarray(mask), grid.affine, options, ("order",)).mask
    assert np.array_equal(first, fortran)
    turned = mask.transpose(1, 2, 0)[:, ::-1]
    index = np.zeros((4, 4))  # from voxels of the turned array, its second axis backwards, to those of the first
    index[1, 0], index[2, 1], index[0, 2], index[3, 3] = 1, -1, 1, 1
    index[2, 3] = mask.shape[2] - 1
    other = draw_defect(turned, grid.affine @ index, options, ("order",)).mask
    assert np.array_equal(other[:, ::-1].transpose(2, 0, 1), first)


def test_a_mirrored_case_has_the_same_stratum(head):
    mask, grid, vault = head
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    for place in PLACES:
        defect = draw_defect(mask, grid.affine, DefectOptions("irregular", place), ("mirror",), vault).mask
        assert stratum_of(defect, mask, mirror @ grid.affine) == stratum_of(defect, mask, grid.affine)


def test_places_lie_where_their_names_say():
    """On a shell about the origin: the centroid of each."""
    mask, affine = shell((2.5, 2.5, 2.5))
    vault = vault_of(mask, affine)
    for place in PLACES:
        found = draw_defect(mask, affine, DefectOptions("sphere", place), ("where", place), vault).mask
        x, y, z = (np.argwhere(found) @ affine[:3, :3].T + affine[:3, 3]).mean(axis=0)
        expected = {
            "frontal": y > 25,
            "occipital": y < -25,
            "temporal": abs(x) > 45 and z < 50,
            "parietal": abs(x) > 10 and z > 20,
            "vertex": z > 55,
            "bilateral": abs(x) < 20,
        }
        assert expected[place], (place, x, y, z)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"kind": "cube"}, "unknown kind"),
        ({"place": "left"}, "unknown place"),
        ({"size": "huge"}, "unknown size"),
        ({"size": "small", "min_cm3": 20.0}, "no small defect"),
        ({"most_tries": 0}, "one try"),
    ],
)
def test_options_that_are_none_are_refused(changed, words):
    with pytest.raises(VolforgeError, match=words):
        DefectOptions(**{"kind": "sphere", **changed})


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"min_cm3": 400.0}, r"smaller than 400 cm3 \(3\)"),
        ({"min_contact_mm2": 1e6}, r"touches less than 1e\+06 mm2 of bone \(3\)"),
        ({"min_kept": 0.999}, r"less than 100% of the bone stays \(3\)"),
    ],
)
def test_draws_that_are_no_defect_are_counted_by_reason(head, changed, reason):
    mask, grid, vault = head
    options = DefectOptions("sphere", most_tries=3, **changed)
    with pytest.raises(VolforgeError, match=reason) as raised:
        draw_defect(mask, grid.affine, options, ("cohort", "case 7", 2), vault)
    assert "cohort case 7 2" in str(raised.value)


def test_a_skull_without_a_vault_and_an_empty_one_are_refused():
    mask, affine = shell((4.0, 4.0, 4.0))
    ring = mask.copy()
    ring[:, :, ring.shape[2] // 2 :] = False
    ring[:, :, : ring.shape[2] // 2 - 4] = False
    with pytest.raises(VolforgeError, match="no vault at the place"):
        draw_defect(ring, affine, DefectOptions("sphere", "vertex", most_tries=5), ("ring",))
    with pytest.raises(VolforgeError, match="empty"):
        draw_defect(np.zeros_like(mask), affine, DefectOptions("sphere"), ("none",))


def test_pieces_are_counted():
    """A skull in strips: what the ball meets is many pieces."""
    mask, affine = shell((2.0, 2.0, 2.0))
    strips = mask.copy()
    strips[::3] = False
    with pytest.raises(VolforgeError, match="the largest piece holds less than 99% of the implant"):
        draw_defect(strips, affine, DefectOptions("sphere", min_cm3=0.0, most_tries=4), ("strips",))


def test_defects_of_training_follow_their_index_and_vary(head):
    mask, grid = drawn("s2")
    vault = vault_of(mask, grid.affine)
    made = [on_line(mask, grid.spacing_mm, grid.affine, 5, i, vault) for i in range(60)]
    again = on_line(mask, grid.spacing_mm, grid.affine, 5, 7)
    assert np.array_equal(again.mask, made[7].mask)
    assert again.record == made[7].record
    for key, words in (("kind", KINDS), ("place", PLACES), ("size", SIZES)):
        assert {d.record[key] for d in made} == set(words)
    assert len({d.mask.tobytes() for d in made}) == len(made)


def test_odds_are_shares():
    for odds in (on_line_module.KIND_ODDS, on_line_module.PLACE_ODDS, on_line_module.SIZE_ODDS):
        assert sum(odds.values()) == pytest.approx(1.0)


def test_a_spacing_of_another_grid_is_refused(head):
    mask, grid, _ = head
    with pytest.raises(VolforgeError, match="not that of the affine"):
        on_line(mask, (1.0, 1.0, 1.0), grid.affine, 1, 1)
