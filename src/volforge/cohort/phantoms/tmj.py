"""Phantom heads with both jaw joints in view: condyle, coronoid, fossa with known gaps, temporal bone.

Shapes are drawn in a joint's own frame: u lateral, v anterior, w superior, in mm, origin at the condyle's
centre. Both joints come from the same functions; the left one is the mirror image, with its own gaps.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from volforge.cohort.phantoms.fields import (
    PhantomScan,
    Points,
    blur,
    capsule,
    ellipsoid,
    in_file_order,
    oblique_grid,
    paint,
    rotation,
    rounded_box,
    smooth_noise,
    stream,
    subject_points,
    world_points,
)
from volforge.volume.geometry import Array

SPACING_MM = 0.8
EXTENT_MM = (140.8, 70.4, 70.4)
HALF_DISTANCE_MM = 50.0
STRUCTURES = {
    "condyle_left": 1,
    "condyle_right": 2,
    "temporal_bone_left": 3,
    "temporal_bone_right": 4,
    "mandible_left": 5,
    "mandible_right": 6,
}
CASES = ("plain", "thin_roof", "roof_hole", "contact", "cut")


@dataclass(frozen=True)
class Joint:
    """What is drawn of one joint, lengths in mm, angles in degrees."""

    semi: tuple[float, float, float]
    yaw: float
    gap_anterior: float
    gap_superior: float
    gap_posterior: float
    roof: float
    has_roof_hole: bool
    coronoid_top: float
    cortex: float
    cortex_hu: float
    marrow_hu: float


def draw(seed: int, subject: str, case: str, spacing_mm: float | None = None) -> PhantomScan:
    """Draw a head.

    Args:
        seed: Seed of the cohort.
        subject: Name; with the seed it decides everything that is random.
        case: One of `CASES`.
        spacing_mm: Isotropic voxel size; 0.8 where None.

    Returns:
        image (int16 HU), labels (uint8), and the truth of both joints.
    """
    rng = stream(seed, "tmj", subject)
    step = spacing_mm or SPACING_MM
    anisotropic = bool(rng.random() < 0.25)
    spacing = (step, step, step * (1.5 if anisotropic else 1.0))
    extent = EXTENT_MM if case != "cut" else (2 * HALF_DISTANCE_MM + 4.0, *EXTENT_MM[1:])
    shape = tuple(round(e / s) for e, s in zip(extent, spacing, strict=True))
    tilt = tuple(float(v) for v in rng.normal(0, 5, 3))
    grid = oblique_grid(shape, spacing, (0.0, 0.0, 0.0), tilt)  # type: ignore[arg-type]
    turn = rotation(tuple(float(v) for v in rng.normal(0, 4, 3)))  # type: ignore[arg-type]
    # the head lies about where the grid does: its own pose is added to the grid's
    turn = rotation(tilt) @ turn  # type: ignore[arg-type]
    shift = rng.normal(0, 3, 3)
    scale = float(np.clip(rng.normal(1, 0.05), 0.9, 1.1))
    p = subject_points(world_points(grid), turn, shift, scale)
    base = _joint(rng)
    factor = float(rng.uniform(0.8, 1.25))
    wide_side = "left" if rng.random() < 0.5 else "right"
    voxel = float(np.mean(spacing)) / scale
    image = np.full(grid.shape, -1000, dtype=np.float32)
    head = ellipsoid(p, (0.0, 8.0, 12.0), (68.0, 92.0, 105.0))
    fat = 4.0 + 1.0 * smooth_noise(rng, grid.shape, spacing, 9.0)
    paint(image, head, -95.0, voxel)
    paint(image, head + fat, 40.0, voxel)
    texture = smooth_noise(rng, grid.shape, spacing, 4.0)
    flesh = head + fat < 0
    image[flesh] += 18 * texture[flesh]
    streaks = ellipsoid(p, (0.0, 5.0, -4.0), (40.0, 26.0, 30.0))
    image[flesh & (streaks < 0) & (texture > 1.1)] = -80.0  # fat between the muscles
    pharynx = ellipsoid(p, (0.0, 2.0, -22.0), (9.0, 7.0, 22.0))
    paint(image, pharynx, -1000.0, voxel)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    truth: dict[str, object] = {
        "case": case,
        "spacing_mm": list(spacing),
        "scale": scale,
        "asymmetry_factor": factor,
        "wide_side": wide_side,
        "turn": turn.tolist(),
        "shift_mm": shift.tolist(),
        "joints": {},
    }
    for side in ("left", "right"):
        joint = _one_side(base, rng, factor if side == wide_side else 1.0, case, side == wide_side)
        _draw_side(image, labels, p, joint, side, voxel, rng)
        truth["joints"][side] = {  # type: ignore[index]
            "semi_axes_mm": [s * scale for s in joint.semi],
            "gap_anterior_mm": joint.gap_anterior * scale,
            "gap_superior_mm": joint.gap_superior * scale,
            "gap_posterior_mm": joint.gap_posterior * scale,
            "roof_mm": joint.roof * scale,
            "roof_hole": joint.has_roof_hole,
            "coronoid_above_condyle_centre_mm": joint.coronoid_top * scale,
            "drawn": asdict(joint),
        }
    image = blur(image, 0.5, spacing)
    image += 45 * smooth_noise(rng, grid.shape, spacing, 0.5)
    scan = PhantomScan(
        grid,
        {"image": np.clip(np.rint(image), -1024, 3071).astype(np.int16), "labels": labels},
        truth,
    )
    return in_file_order(scan, str(rng.choice(["RAS", "LPS", "LAS", "PSR"])))


def _joint(rng: np.random.Generator) -> Joint:
    semi = np.array([9.0, 4.6, 5.2]) * (1 + rng.uniform(-0.07, 0.07, 3))
    return Joint(
        semi=(float(semi[0]), float(semi[1]), float(semi[2])),
        yaw=float(rng.normal(18, 6)),
        gap_anterior=float(rng.uniform(1.6, 2.8)),
        gap_superior=float(rng.uniform(2.0, 3.6)),
        gap_posterior=float(rng.uniform(1.8, 3.2)),
        roof=float(rng.uniform(0.6, 1.8)),
        has_roof_hole=False,
        coronoid_top=float(rng.uniform(-6, 9)),
        cortex=float(rng.uniform(1.0, 1.8)),
        cortex_hu=float(rng.uniform(1000, 1500)),
        marrow_hu=float(rng.uniform(200, 380)),
    )


def _one_side(base: Joint, rng: np.random.Generator, factor: float, case: str, is_special: bool) -> Joint:
    """A side of the head: the subject's joint with a scaled gap, and what the case asks for on one side."""
    gaps = [base.gap_anterior * factor, base.gap_superior * factor, base.gap_posterior * factor]
    if case == "contact" and is_special:
        gaps[1] = 0.0
    return Joint(
        semi=base.semi,
        yaw=base.yaw + float(rng.normal(0, 1.5)),
        gap_anterior=gaps[0],
        gap_superior=gaps[1],
        gap_posterior=gaps[2],
        roof=0.3 if case == "thin_roof" and is_special else base.roof,
        has_roof_hole=case == "roof_hole" and is_special,
        coronoid_top=base.coronoid_top + float(rng.normal(0, 1)),
        cortex=base.cortex,
        cortex_hu=base.cortex_hu,
        marrow_hu=base.marrow_hu,
    )


def _draw_side(
    image: Array, labels: Array, p: Points, joint: Joint, side: str, voxel: float, rng: np.random.Generator
) -> None:
    sign = -1.0 if side == "left" else 1.0  # RAS: the first axis grows to the right
    lateral = sign * p[0] - np.float32(HALF_DISTANCE_MM)
    box = np.flatnonzero((lateral > -42).any(axis=(1, 2)))
    part = slice(int(box[0]), int(box[-1]) + 1)
    local = (lateral[part], p[1][part], p[2][part])
    condyle, rest, temporal = joint_shapes(local, joint, rng)
    mandible = np.minimum(condyle, rest)
    view = image[part]
    for shape in (temporal, mandible):
        depth = np.float32(joint.cortex)
        value = np.where(shape > -depth, np.float32(joint.cortex_hu), np.float32(joint.marrow_hu))
        paint(view, shape, value, voxel)
    out = labels[part]
    out[temporal < 0] = STRUCTURES[f"temporal_bone_{side}"]
    out[(rest < 0) & (condyle >= 0)] = STRUCTURES[f"mandible_{side}"]
    out[condyle < 0] = STRUCTURES[f"condyle_{side}"]


def joint_shapes(p: Points, joint: Joint, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Signed distances of condyle, rest of the mandible, and temporal bone in the joint's frame."""
    c, s = np.float32(np.cos(np.radians(joint.yaw))), np.float32(np.sin(np.radians(joint.yaw)))
    u, v, w = p
    turned = (c * u + s * v, -s * u + c * v, w)
    head = ellipsoid(turned, (0.0, 0.0, 0.0), joint.semi)
    neck = capsule(p, (-1.0, -0.5, -2.0), (-1.5, -2.0, -14.0), 4.2, 4.0)
    condyle = np.minimum(head, np.maximum(neck, -(w + 12.0)))
    ramus = rounded_box(p, (-1.5, 9.0, -32.0), (3.6, 14.0, 20.0), 3.0)
    top = joint.coronoid_top
    coronoid = capsule(p, (-1.5, 19.0, -18.0), (-7.0, 25.0, top - 2.0), 4.0, 2.0)
    rest = np.minimum(np.minimum(ramus, coronoid), neck)
    gap = _gap(turned, joint)
    cavity = head - gap  # negative where the joint space (and the condyle) is
    roof = np.maximum(cavity - np.float32(joint.roof), -(w + 2.5))
    eminence = ellipsoid(p, (-1.0, 13.0, 5.0), (12.0, 7.0, 6.5))
    tympanic = ellipsoid(p, (-3.0, -15.0, 3.0), (12.0, 7.5, 11.0))
    mastoid = ellipsoid(p, (3.0, -27.0, -2.0), (8.0, 10.0, 15.0))
    body = rounded_box(p, (-7.0, -3.0, 9.5), (17.0, 25.0, 3.2), 2.5)
    petrous = capsule(p, (-8.0, -14.0, 6.0), (-38.0, 8.0, 8.0), 9.0, 4.0)
    zygoma = capsule(p, (9.0, 12.0, 5.0), (11.0, 38.0, 1.0), 3.2, 2.6)
    squama = np.maximum(np.abs(ellipsoid(p, (-48.0, 2.0, 10.0), (57.0, 72.0, 62.0))) - 1.8, 7.0 - w)
    solid = body
    for shape in (eminence, tympanic, mastoid, petrous, zygoma, squama):
        solid = _blend(solid, shape, 4.0)
    # above the fossa the brain's side is hollow too: there the roof alone parts the two
    hollow = np.maximum(ellipsoid(p, (-1.0, 0.5, 15.0), (11.0, 7.0, 9.0)), -(cavity - np.float32(joint.roof)))
    solid = np.minimum(np.maximum(solid, -hollow), roof)
    canal = capsule(p, (-14.0, -13.5, 3.0), (24.0, -14.5, 1.0), 3.2, 3.6)
    temporal = np.maximum(solid, -cavity)
    temporal = np.maximum(temporal, -canal)
    for _ in range(9):
        centre = (3.0 + rng.uniform(-5, 4), -27.0 + rng.uniform(-5, 5), -2.0 + rng.uniform(-9, 10))
        temporal = np.maximum(temporal, -ellipsoid(p, centre, (1.9, 1.9, 2.2)))
    if joint.has_roof_hole:
        temporal = np.maximum(temporal, -capsule(p, (-1.0, 0.5, 2.0), (-1.0, 0.5, 22.0), 1.6, 1.6))
    return condyle, rest, temporal


def _blend(a: Array, b: Array, width: float) -> Array:
    """Union of two shapes with a rounded seam (polynomial smooth minimum)."""
    share = np.clip(0.5 + 0.5 * (b - a) / width, 0, 1)
    return b + share * (a - b) - width * share * (1 - share)


def _gap(p: Points, joint: Joint) -> Array:
    """Width of the joint space by direction from the condyle's centre: blends anterior, superior, posterior."""
    u, v, w = p
    length = np.maximum(np.sqrt(u**2 + v**2 + w**2), 1e-3)
    up = np.maximum(w / length, 0) ** 2 + 0.15 * (u / length) ** 2
    front, back = np.maximum(v / length, 0) ** 2, np.maximum(-v / length, 0) ** 2
    total = np.maximum(up + front + back, 1e-3)
    return (up * joint.gap_superior + front * joint.gap_anterior + back * joint.gap_posterior) / total
