"""The walks of `volforge.shape.rays` for a GPU: all ways step at once, and what has arrived drops out.

Step by step the same arithmetic in double precision, so that both give the same places.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from volforge.errors import VolforgeError
from volforge.shape.rays import LEAST, MOST
from volforge.volume.geometry import Array

if TYPE_CHECKING:
    import torch


def device_of(accelerator: str) -> torch.device:
    """The device of a name.

    Args:
        accelerator: `gpu`, or a device of torch (`cpu` in tests).

    Raises:
        VolforgeError: no GPU is visible.
    """
    import torch

    if accelerator != "gpu":
        return torch.device(accelerator)
    if not torch.cuda.is_available():
        raise VolforgeError(
            "no GPU is visible to this process",
            "joint.accelerator",
            "run it on a GPU node, or set `cpu`",
            may_pass=True,
        )
    return torch.device("cuda")


def seen_from_condyle(
    places: Array, away: Array, outward: Array, opaque: Array, margin: int, accelerator: str = "gpu"
) -> Array:
    """As `volforge.shape.rays.seen_from_condyle`."""
    import torch

    device = device_of(accelerator)
    if not len(places):
        return np.zeros(0, bool)
    fields = [torch.from_numpy(np.ascontiguousarray(f)).to(device) for f in (away, outward, opaque)]
    own, rays, bone_at = fields[0], fields[1].double(), fields[2]
    index = torch.from_numpy(np.ascontiguousarray(places, np.int64)).to(device)
    at = index.double()
    last = torch.tensor(own.shape, device=device) - 1
    left = 4.0 * own[tuple(index.T)].double() + 20.0
    number = torch.arange(len(at), device=device)
    seen = torch.zeros(len(at), dtype=torch.bool, device=device)
    while len(number):
        near = own[tuple(index.T)] < 1.0
        seen[number[near]] = True
        bone = bone_at[tuple((index + margin).T)].double()
        ray = rays[tuple(index.T)]
        goes_on = ~near & (bone >= 0) & (ray != 0).any(dim=1)
        step = (bone - 1.2).clamp(LEAST, MOST)
        at = at - step[:, None] * ray
        left = left - step
        goes_on &= left > 0
        number, at, left = number[goes_on], at[goes_on], left[goes_on]
        index = torch.minimum(at.round().long().clamp(min=0), last)
    return np.asarray(seen.cpu().numpy())


def way_to_bone(
    places: Array, rays: Array, reach: Array, barrier: Array, opaque: Array, accelerator: str = "gpu"
) -> Array:
    """As `volforge.shape.rays.way_to_bone`."""
    import torch

    device = device_of(accelerator)
    own, bone = (torch.from_numpy(np.ascontiguousarray(f)).to(device) for f in (barrier, opaque))
    start, ray, far = (torch.from_numpy(np.ascontiguousarray(v, np.float64)).to(device) for v in (places, rays, reach))
    found = torch.full((len(start),), -1.0, dtype=torch.float64, device=device)
    last_voxel = torch.tensor(own.shape, device=device) - 1
    number = torch.arange(len(start), device=device)[far >= 0]
    gone, before = torch.zeros_like(far), torch.zeros_like(far)
    last = torch.full_like(far, 1e9)
    while len(number):
        at = start[number] + gone[number, None] * ray[number]
        corner = at.floor().long()
        inside = ((corner >= 0) & (corner < last_voxel)).all(dim=1)
        number, at, corner = number[inside], at[inside], corner[inside]
        rest = at - corner
        here = torch.zeros(len(number), dtype=torch.float64, device=device)
        near = torch.full_like(here, 1e9)
        for offset in product((0, 1), repeat=3):
            move = torch.tensor(offset, device=device)
            share = torch.where(move == 1, rest, 1 - rest).prod(dim=1)
            voxel = tuple((corner + move).T)
            here = here + share * own[voxel]
            near = torch.minimum(near, bone[voxel].double())
        met = here <= 0
        g, b, h = gone[number], before[number], last[number]
        found[number[met]] = torch.where(h >= 1e9, g, b + (g - b) * h / (h - here))[met]
        nearest = tuple(at.round().long().T)
        blocked = ~met & (near < 0) & (bone[nearest] < 0)
        struck = blocked & (own[nearest] < 0)
        found[number[struck]] = g[struck]
        goes_on = ~met & ~blocked
        before[number], last[number] = g, here
        gone[number] = g + (near - 0.2).clamp(LEAST, MOST)
        number = number[goes_on]
        number = number[gone[number] <= far[number]]
    return np.asarray(found.cpu().numpy())
