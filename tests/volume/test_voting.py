import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import save, volforge
from volforge.errors import VolforgeError
from volforge.volume.voting import Voting, fill_by_vote, fill_file

AROUND = [d for d in itertools.product((-1, 0, 1), repeat=3) if d != (0, 0, 0)]


def by_hand(mask, needed, sweeps):
    """The rule as it is written: background joins where `needed` of its 27 neighbours are in the mask."""
    for _ in range(sweeps):
        padded = np.pad(mask, 1, mode="edge").astype(int)
        votes = sum(
            padded[tuple(slice(1 + d, 1 + d + n) for d, n in zip(move, mask.shape, strict=True))]
            for move in [*AROUND, (0, 0, 0)]
        )
        after = mask | (votes >= needed)
        if (after == mask).all():
            break
        mask = after
    return mask


@pytest.mark.parametrize(("neighbours", "joins"), [(13, False), (14, True)])
def test_fourteen_of_twenty_seven_let_a_voxel_join(neighbours, joins):
    mask = np.zeros((9, 9, 9), bool)
    for move in AROUND[:neighbours]:
        mask[tuple(4 + d for d in move)] = True
    assert Voting().needed == 14
    assert fill_by_vote(mask, Voting(sweeps=1, calls=1))[4, 4, 4] == joins


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 0.6), st.integers(1, 4), st.integers(0, 3))
def test_the_filter_keeps_the_rule_and_takes_nothing_away(seed, share, sweeps, majority):
    mask = np.random.default_rng(seed).random((7, 6, 5)) < share
    found = fill_by_vote(mask, Voting(majority=majority, sweeps=sweeps, calls=1))
    assert np.array_equal(found, by_hand(mask, 13 + majority, sweeps))
    assert (found | mask).sum() == found.sum()


def test_a_hole_of_a_ball_is_filled_and_its_outline_stays():
    ball = ((np.indices((40, 40, 40)) - 20) ** 2).sum(axis=0) < 15**2
    hollow = ball.copy()
    hollow[((np.indices(ball.shape) - 20) ** 2).sum(axis=0) < 4**2] = False
    filled = fill_by_vote(hollow)
    assert filled[20, 20, 20]
    assert (filled & ~ball).sum() < 0.005 * ball.sum()


def test_few_sweeps_leave_what_more_would_fill():
    mask = np.ones((30, 30, 30), bool)
    mask[3:27, 3:27, 3:27] = False
    first = fill_by_vote(mask, Voting(sweeps=1, calls=1))
    assert mask.sum() < first.sum() < fill_by_vote(mask, Voting(sweeps=2, calls=2)).sum()


def test_the_command_writes_on_the_grid_of_its_file(tmp_path):
    mask = np.zeros((12, 14, 10), np.int16)
    mask[2:10, 2:12, 2:8] = 3
    mask[5:7, 5:7, 4:6] = 0
    affine = np.array([[-1.5, 0, 0, 7], [0, -1.5, 0, 3], [0, 0, 4, -9], [0, 0, 0, 1.0]])
    file = save(tmp_path / "Untitled.nii.gz", mask, affine)
    done = volforge("scan", "fill", file, "--out", tmp_path / "filled.nii.gz")
    assert done.returncode == 0, done.stderr
    assert "8 voxels joined" in done.stdout
    made = nib.load(tmp_path / "filled.nii.gz")
    assert np.array_equal(made.affine, affine)
    assert set(np.unique(np.asarray(made.dataobj))) == {0, 1}
    assert np.asarray(made.dataobj)[5:7, 5:7, 4:6].all()


def test_what_is_no_mask_and_no_vote_is_an_error(tmp_path):
    labels = np.zeros((20, 20, 20), np.uint8)
    file = save(tmp_path / "empty.nii.gz", labels)
    with pytest.raises(VolforgeError, match="the mask is empty"):
        fill_file(file, tmp_path / "out.nii.gz")
    labels[0, 0, 0], labels[1, 1, 1] = 1, 2
    with pytest.raises(VolforgeError, match="this has 2"):
        fill_file(save(tmp_path / "two.nii.gz", labels), tmp_path / "out.nii.gz")
    with pytest.raises(VolforgeError, match="NIfTI"):
        fill_file(file, tmp_path / "out.mha")
    with pytest.raises(VolforgeError, match="no such vote"):
        Voting(radius=(0, 0, 0))


def test_a_mask_with_sheared_axes_stays_where_it_lies(tmp_path):
    mask = np.zeros((30, 30, 20), np.uint8)
    mask[10:20, 10:20, 5:15] = 1
    mask[15, 15, 10] = 0
    affine = np.array([[2, 0, 0, 0], [0, 2, 1.5, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]])
    save(tmp_path / "m.nii.gz", mask, affine)
    fill_file(tmp_path / "m.nii.gz", tmp_path / "f.nii.gz")
    found = nib.load(tmp_path / "f.nii.gz")
    assert found.shape == mask.shape
    assert np.allclose(found.affine, affine)
    filled = np.asarray(found.dataobj) > 0
    assert filled[15, 15, 10]
    assert (filled != (mask > 0)).sum() < 0.1 * mask.sum()
    with pytest.raises(VolforgeError, match="would be written over the mask"):
        fill_file(tmp_path / "m.nii.gz", tmp_path / "m.nii.gz")
    with pytest.raises(VolforgeError, match=r"call it \.nii\.gz"):
        fill_file(tmp_path / "m.nii.gz", tmp_path / "f.nii")
