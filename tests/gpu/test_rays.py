"""Rays that walk on a GPU: voxel by voxel what the compiled walks say."""

import numpy as np
import pytest

from tests.shape.joints import joint
from volforge.shape import rays, rays_gpu
from volforge.shape.bones import bones_of
from volforge.shape.inflate import inflate
from volforge.shape.joint import JointSettings, measure_joint


@pytest.fixture(autouse=True)
def _walks_here(device, monkeypatch):
    if device == "cpu":
        import torch

        monkeypatch.setattr(rays_gpu, "device_of", lambda accelerator: torch.device("cpu"))


@pytest.mark.parametrize("kind", ["half", "closed", "none"])
def test_both_inflate_to_the_same_voxels(kind, record_property):
    one = joint((0.5, 0.5, 0.8), kind=kind, turn=(8, -5, 12))
    made = [bones_of(one.condyle, one.barrier, None, one.grid, accelerator=a) for a in ("cpu", "gpu")]
    compiled, batched = (inflate(b, "ray", 14.0) for b in made)
    assert compiled.space.any()
    record_property("voxels", int(compiled.space.sum()))
    record_property("voxels that differ", int((compiled.space != batched.space).sum()))
    assert np.array_equal(compiled.space, batched.space)
    assert np.array_equal(compiled.joint_space, batched.joint_space)
    assert compiled.stops == batched.stops


def test_both_find_the_same_ways(record_property):
    generator = np.random.default_rng(5)
    barrier = generator.uniform(-1, 4, (20, 24, 18)).astype(np.float32)
    opaque = np.minimum(barrier, generator.uniform(-0.5, 6, barrier.shape).astype(np.float32))
    places = generator.uniform(-2, 25, (40000, 3))
    directions = generator.normal(size=(40000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    reach = generator.uniform(-1, 20, 40000)
    compiled = rays.way_to_bone(places, directions, reach, barrier, opaque)
    batched = rays_gpu.way_to_bone(places, directions, reach, barrier, opaque)
    assert 1000 < (compiled >= 0).sum() < 39000
    record_property("largest difference", float(np.abs(compiled - batched).max()))
    assert np.allclose(compiled, batched, atol=1e-9)


def test_a_joint_is_measured_alike(record_property):
    one = joint((0.5, 0.5, 0.5), turn=(8, -5, 12))
    settings = [
        JointSettings(sensitivity_mm=(6.0, 10.0), with_width=False, with_surfaces=False, accelerator=a)
        for a in ("cpu", "gpu")
    ]
    here, there = (measure_joint(one.condyle, one.barrier, None, one.grid, s) for s in settings)
    record_property("mm3", here.negative_volume_mm3)
    assert here.negative_volume_mm3 == there.negative_volume_mm3 > 0
    assert here.joint_space_mm3 == there.joint_space_mm3 > 0
    assert here.sensitivity == there.sensitivity
