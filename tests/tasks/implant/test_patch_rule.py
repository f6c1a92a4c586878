"""The rule of the published patches: counted by hand, for both targets; and the picture that moves."""

import numpy as np
import pytest
from PIL import Image

from volforge.errors import VolforgeError
from volforge.tasks.implant.patch_movie import BROKEN, KEPT, PATCH, PatchScan, frames, write_movie
from volforge.tasks.implant.patch_rule import (
    PatchCounts,
    count_patches,
    measures_of,
    read_counts,
    write_counts,
)

SKULL = np.zeros((8, 8, 4), bool)
SKULL[:, :, 1] = True
IMPLANT = np.zeros_like(SKULL)
IMPLANT[0, 0, 1] = IMPLANT[1, 5, 1] = True  # patches (0, 0) and (0, 1) of four
SKULL &= ~IMPLANT


def counts(answer, target):
    return count_patches(answer, SKULL, IMPLANT, (4, 4, 4), target)


@pytest.mark.parametrize("target", ["implant", "skull"])
def test_the_right_answer_keeps_the_rule_everywhere(target):
    right = IMPLANT if target == "implant" else SKULL | IMPLANT
    assert counts(right, target) == PatchCounts(2, 0, 2, 0)


@pytest.mark.parametrize("target", ["implant", "skull"])
def test_one_voxel_breaks_it(target):
    answer = (IMPLANT if target == "implant" else SKULL | IMPLANT).copy()
    answer[7, 7, 3] = True  # added where nothing is missing
    answer[:4, :4] = False if target == "implant" else SKULL[:4, :4]  # a defect without an answer
    assert counts(answer, target) == PatchCounts(2, 1, 2, 1)


def test_lost_bone_is_a_change_of_a_completion_and_no_change_of_a_direct_implant():
    lost = (SKULL | IMPLANT).copy()
    lost[6, 6, 1] = False
    assert counts(lost, "skull").false_implant == 1
    lost[:4, :4] = False  # bone that is lost about a hole does not fill it
    assert counts(lost, "skull").missed == 1
    assert counts(IMPLANT, "implant").false_implant == 0


def test_shares_have_the_number_of_their_patches():
    found = measures_of(PatchCounts(4, 1, 2, 2), "implant")
    assert [(m.measure, m.value, m.n, m.unit) for m in found] == [
        ("patch_false_implant_share", 0.25, 4, "1"), ("patch_missed_share", 1.0, 2, "1"),
    ]  # fmt: skip
    assert measures_of(PatchCounts(0, 0, 2, 2), "implant")[0].status == "undefined"


def test_counts_are_read_as_they_were_written(tmp_path):
    assert read_counts(tmp_path) == {}
    written = {"a": PatchCounts(4, 1, 2, 2), "b": PatchCounts(0, 0, 1, 0)}
    write_counts(tmp_path, written)
    assert read_counts(tmp_path) == written


def frame_colour(picture, which):
    """Colour of the frame of the patch (0) or of its answer (1)."""
    left = 180 + 4 + which * (PATCH + 4)
    return tuple(picture[picture.shape[0] // 2, left])


@pytest.mark.parametrize("target", ["implant", "skull"])
def test_frames_say_where_the_rule_is_broken(target):
    answer = (IMPLANT if target == "implant" else SKULL | IMPLANT).copy()
    answer[7, 7, 3] = True
    found = frames(PatchScan(SKULL, answer, IMPLANT, (4, 4, 4), target))
    assert len(found) == 4
    assert [frame_colour(f, 1) for f in found] == [KEPT, KEPT, KEPT, BROKEN]
    assert all(frame_colour(f, 0) == KEPT for f in found)
    assert not np.array_equal(found[0], found[1])


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_movie_has_a_picture_for_every_patch_and_the_same_bytes_again(tmp_path, suffix):
    found = frames(PatchScan(SKULL, IMPLANT, IMPLANT, (4, 4, 4), "implant"))
    for name in ("a", "b"):
        write_movie(found, tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    image = Image.open(tmp_path / f"a{suffix}")
    assert image.n_frames == 4
    if suffix == ".webp":  # without loss
        for k, picture in enumerate(found):
            image.seek(k)
            assert np.array_equal(np.asarray(image.convert("RGB")), picture)
    with pytest.raises(VolforgeError, match="does not move"):
        write_movie(found, tmp_path / "a.png")
