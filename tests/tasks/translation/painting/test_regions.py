import numpy as np
import pytest

from tests.tasks.translation.painting.drawn import head, trunk
from volforge.tasks.translation.painting.fields import Frame
from volforge.tasks.translation.painting.fluid import fluid_weight
from volforge.tasks.translation.painting.regions import find_regions
from volforge.tasks.translation.painting.shapes import Pieces, closed, depth_mm, filled, rounded_closing


def regions_of(hu, body, pixel_mm, **settings):
    frame = Frame(hu.shape, pixel_mm, 3.0)
    return find_regions(
        hu, body, frame, **{"full_bone": 700, "air_hu": -300, "grain_mm": 0.0, "trunk": True, **settings}
    )


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("pixel_mm", [1.0, 2.0, 4.0])
def test_inside_of_a_skull_at_every_pixel_size(pixel_mm):
    hu, body, parts = head(pixel_mm)
    found = regions_of(hu, body, pixel_mm)
    assert dice(found.inside, parts["brain"]) > (0.97 if pixel_mm < 4 else 0.93)
    assert not (found.inside & parts["fat"]).any()
    assert found.air[parts["air"]].all()
    assert not found.lung.any()


def test_a_skull_with_a_window_still_has_an_inside():
    hu, body, parts = head(2.0)
    hu[:, :60, 60:68][hu[:, :60, 60:68] > 200] = 40  # 16 mm wide
    assert dice(regions_of(hu, body, 2.0).inside, parts["brain"]) > 0.95


@pytest.mark.parametrize("pixel_mm", [2.0, 4.0])
def test_a_trunk_has_lungs_and_no_brain(pixel_mm):
    hu, body, parts = trunk(pixel_mm)
    found = regions_of(hu, body, pixel_mm)
    assert not found.inside.any()
    assert dice(found.lung, parts["lungs"]) > 0.9
    assert not (found.lung & parts["gas"]).any()
    assert found.air[parts["gas"]].all()
    assert found.marrow[parts["marrow"]].mean() > 0.9
    assert found.fat[parts["fat"]].mean() > 0.9
    assert found.fat[parts["muscle"]].mean() < 0.05
    assert not regions_of(hu, body, pixel_mm, trunk=False).lung.any()


def test_vessels_with_contrast_medium_are_no_bone():
    hu, body, parts = trunk(2.0)
    room = depth_mm(parts["muscle"], Frame(hu.shape, 2.0, 2.0))[0]
    y, x = np.unravel_index(room.argmax(), room.shape)
    hu[0, y - 3 : y + 4, x - 3 : x + 4] = 260
    found = regions_of(hu, body, 2.0)
    assert found.bone[0, y, x] == 0
    assert found.bone[parts["cortex"]].min() > 0.9


def test_fluid_lies_in_soft_tissue_only_and_everywhere_at_times():
    hu, body, parts = head(2.0)
    frame = Frame(hu.shape, 2.0, 2.0)
    found = regions_of(hu, body, 2.0)
    free = found.inside | found.soft
    weights = np.stack([fluid_weight(found, frame, np.random.default_rng(s), trunk=True) for s in range(60)])
    assert (weights[:, ~free] == 0).all()
    assert (weights >= 0).all()
    assert (weights <= 1).all()
    often = (weights > 0.5).mean(0)
    assert (often[parts["brain"]] > 0).mean() > 0.7
    assert often.max() < 0.5


def test_balls_of_fluid_are_as_large_as_eyes():
    body = np.ones((1, 150, 150), bool)
    found = regions_of(np.full((1, 150, 150), 30, np.float32), body, 2.0)
    frame = Frame(body.shape, 2.0, 2.0)
    diameters = []
    for seed in range(40):
        pieces = Pieces(fluid_weight(found, frame, np.random.default_rng(seed), trunk=False) > 0.5, frame)
        if pieces.count == 1:  # of several, some may overlap or reach over the rim
            diameters.append(2 * np.sqrt(pieces.area_mm2[1] / np.pi))
    assert len(diameters) > 5
    assert max(diameters) < 26.5
    assert np.median(diameters) > 19.5


def test_morphology_in_planes():
    frame = Frame((2, 9, 9), 2.0, 5.0)
    ring = np.zeros((2, 9, 9), bool)
    ring[:, 2:7, 2:7] = True
    ring[:, 3:6, 3:6] = False
    assert filled(ring).sum() == 2 * 25
    ring[0, 2, 4] = False  # a gap of 2 mm
    assert filled(ring)[0].sum() == 15
    assert not rounded_closing(ring, 2.0, frame)[0, 2, 4]  # a disc of a pixel goes through
    assert rounded_closing(ring, 3.0, frame)[0, 2, 4]
    assert (closed(ring.astype(np.uint8), 1) >= ring).all()
    depth = depth_mm(filled(ring[1:]), frame)
    assert depth[0, 4, 4] == 6
    assert depth[0, 2, 2] == 2
    assert (depth_mm(np.ones((1, 3, 3), bool), frame) == 1000).all()


def test_pieces_go_through_slices():
    frame = Frame((3, 4, 5), 3.0, 5.0)
    mask = np.zeros((3, 4, 5), bool)
    mask[:2, 0, 0] = True
    mask[2, 2:, 2:4] = True
    pieces = Pieces(mask, frame)
    assert pieces.count == 2
    assert pieces.area_mm2.tolist() == [0, 9, 36]
    assert pieces.share(np.indices(mask.shape)[0] == 0).tolist()[1:] == [0.5, 0]
    assert (pieces.those(np.array([True, False, True])) == (mask & (np.indices(mask.shape)[0] == 2))).all()
