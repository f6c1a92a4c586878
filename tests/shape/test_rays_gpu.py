"""The walks for a GPU, run on the CPU: place by place what the compiled ones say."""

import numpy as np
import pytest

from tests.shape.joints import joint
from volforge.errors import VolforgeError
from volforge.shape import rays, rays_gpu
from volforge.shape.bones import bones_of
from volforge.shape.inflate import inflate


@pytest.fixture(scope="module", params=["half", "none"])
def both(request):
    one = joint((0.5, 0.5, 0.8), kind=request.param, turn=(8, -5, 12))
    return [bones_of(one.condyle, one.barrier, None, one.grid, accelerator=a) for a in ("cpu", "torch")]


@pytest.fixture(autouse=True)
def _torch_on_cpu(monkeypatch):
    import torch

    monkeypatch.setattr(rays_gpu, "device_of", lambda accelerator: torch.device("cpu"))


@pytest.mark.parametrize("r_max", [6.0, 14.0])
def test_both_inflate_to_the_same_voxels(both, r_max):
    compiled, batched = (inflate(b, "ray", r_max) for b in both)
    assert compiled.space.any()
    assert np.array_equal(compiled.space, batched.space)
    assert np.array_equal(compiled.joint_space, batched.joint_space)
    assert compiled.stops == batched.stops


def test_both_find_the_same_ways():
    generator = np.random.default_rng(5)
    barrier = generator.uniform(-1, 4, (20, 24, 18)).astype(np.float32)
    opaque = np.minimum(barrier, generator.uniform(-0.5, 6, barrier.shape).astype(np.float32))
    places = generator.uniform(-2, 25, (4000, 3))
    directions = generator.normal(size=(4000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    reach = generator.uniform(-1, 20, 4000)
    compiled = rays.way_to_bone(places, directions, reach, barrier, opaque)
    batched = rays_gpu.way_to_bone(places, directions, reach, barrier, opaque)
    assert 100 < (compiled >= 0).sum() < 3900
    assert np.allclose(compiled, batched, atol=1e-9)


def test_nothing_to_walk():
    field = np.zeros((4, 4, 4), np.float32)
    empty = np.zeros((0, 3))
    outward = np.zeros((4, 4, 4, 3), np.float32)
    assert rays_gpu.way_to_bone(empty, empty, np.zeros(0), field, field).shape == (0,)
    assert rays_gpu.seen_from_condyle(np.zeros((0, 3), int), field, outward, field, 0).shape == (0,)


def test_no_gpu_is_said(monkeypatch):
    import torch

    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(VolforgeError, match="no GPU is visible"):
        rays_gpu.device_of("gpu")
