"""Real skulls with a hole: what fits is known to fit, meshes close, and baselines are held to the hole."""

import numpy as np
import pytest

from volforge.baselines.hole import hole_in_vault
from volforge.baselines.implant import close, mirror
from volforge.tasks.implant.making.fit import fit
from volforge.tasks.implant.mesh import printable
from volforge.tasks.implant.picture import implant_picture
from volforge.tasks.implant.post import PostOptions, postprocess
from volforge.volume.boxes import foreground_box, grown
from volforge.volume.geometry import Grid
from volforge.volume.read import read_canonical

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real"), pytest.mark.slow]


@pytest.fixture(scope="module", params=["005", "032"])  # the first lies 19 degrees oblique
def skull(real, request):
    """Defective skull and implant at their own voxels, cut to the bone, and affine."""
    if not (real / "skullfix").exists():
        pytest.skip("SkullFix is not beside the project")
    (bone, grid), (implant, _) = (
        read_canonical(real / f"skullfix/{kind}/{request.param}.nrrd", labels=True)[:2]
        for kind in ("defective_skull", "implant")
    )
    box = grown(foreground_box(bone + implant), (4, 4, 4), bone.shape)
    return bone[box] > 0, implant[box] > 0, grid.part(box).affine


def test_an_implant_that_was_cut_out_along_an_axis_goes_back_along_it(skull):
    """SkullFix cuts along the third voxel axis: no gap, no step, and nothing to trim along that axis."""
    bone, implant, affine = skull
    found = fit(implant, bone, affine)
    assert found.gap.median_mm == 0
    assert found.gap.share_over(1.0) < 0.01
    assert abs(found.step.outer.median_mm) < 0.1
    assert abs(found.step.inner.median_mm) < 0.1
    axis = affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    assert found.way.direction @ axis > np.cos(np.radians(12))
    assert found.way.trim_mm3 < 2
    assert 4 < found.thick.median_mm < 12


def test_a_smaller_implant_gapes_as_much_as_it_was_taken_back(skull):
    bone, implant, affine = skull
    spacing = Grid((1, 1, 1), affine).spacing_mm
    narrow, _ = postprocess(implant, bone, spacing, PostOptions(open_mm=0, gap_mm=1.5))
    found = fit(narrow, bone, affine)
    assert found.gap.median_mm == pytest.approx(1.5, abs=0.4)
    assert found.gap.share_over(1.0) > 0.8


def test_the_mesh_of_an_implant_is_closed_and_lies_on_its_voxels(skull):
    _, implant, affine = skull
    found = printable(implant, affine)
    assert found.watertight
    assert found.crossing in (0, None)
    assert abs(found.volume_error) < 0.02
    places = np.argwhere(implant) @ affine[:3, :3].T + affine[:3, 3]
    assert np.allclose(found.mesh.vertices.min(axis=0), places.min(axis=0), atol=1.0)
    assert np.allclose(found.mesh.vertices.max(axis=0), places.max(axis=0), atol=1.0)


def test_the_hole_in_the_vault_is_that_of_the_implant(skull):
    bone, implant, affine = skull
    found = hole_in_vault(bone, affine)
    assert found is not None
    assert found.covers(np.argwhere(implant) @ affine[:3, :3].T + affine[:3, 3], 12.0).mean() > 0.98


def test_baselines_give_nothing_outside_of_the_hole(skull):
    bone, implant, affine = skull
    # the hole straddles the midline: the mirror has little to say, but says it in the hole
    for found in (mirror(bone, affine), close(bone, affine, 20.0)):
        assert not (found & bone).any()
        assert found.any()
        assert (found & implant).sum() > 0.2 * found.sum()


def test_a_temporal_hole_is_mirrored(skull):
    """Bone about a place of one side is taken out of the complete skull: the registered mirror brings it back."""
    bone, implant, affine = skull
    complete = bone | implant
    places = np.argwhere(complete) @ affine[:3, :3].T + affine[:3, 3]
    # a ball about the outermost bone of the left, at half the height of the vault
    top = places[:, 2].max()
    level = places[np.abs(places[:, 2] - (top - 55)) < 2]
    middle = level[level[:, 0].argmin()]
    taken = np.zeros_like(complete)
    near = np.linalg.norm(places - middle, axis=1) < 26
    taken[tuple(np.argwhere(complete)[near].T)] = True
    found = mirror(complete & ~taken, affine)
    assert 2 * (found & taken).sum() / (found.sum() + taken.sum()) > 0.75


def test_the_picture_of_a_case(skull):
    bone, implant, affine = skull
    picture = implant_picture(bone, np.roll(implant, 3, axis=2), implant, Grid((1, 1, 1), affine).spacing_mm)
    assert picture.shape[1] > picture.shape[0] > 600
    assert (np.abs(picture.astype(int) - (230, 159, 0)).sum(axis=2) < 90).sum() > 100
