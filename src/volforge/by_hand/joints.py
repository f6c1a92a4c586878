"""Negative volumes of any files, outside of a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volforge.errors import VolforgeError
from volforge.shape.frame import back_on_scan
from volforge.shape.joint import FLAGS, Joint, JointSettings, measure_joint
from volforge.shape.joint_files import negative_volume_mesh, write_meshes
from volforge.shape.joint_record import FILE, asymmetry_record, side_record
from volforge.volume.boxes import holding
from volforge.volume.folders import whole_folder, write_json
from volforge.volume.geometry import Array, Grid, describe, reorientation_of, same_place
from volforge.volume.read import read_volume
from volforge.volume.source_volume import values_of
from volforge.volume.write import write_nifti
from volforge.whole_file import refuse_folder, refuse_places


@dataclass(frozen=True)
class ByHand:
    """Files of a joint, and which ids of them count (None: all above 0)."""

    condyle: Path
    barrier: Path
    others: Path | None
    image: Path | None
    condyle_ids: str | None
    barrier_ids: str | None
    other_ids: str | None

    def named(self) -> dict[str, Path | None]:
        """Files by what they are."""
        return {"condyle": self.condyle, "barrier": self.barrier, "others": self.others, "image": self.image}


def inflate_files(files: ByHand, out: Path, settings: JointSettings) -> Iterator[str]:
    """Inflate the bone of a file and write masks, meshes and negative_volume.json.

    Yields:
        Lines for the terminal.

    Raises:
        VolforgeError: unreadable files, other grids, no condyle, unknown method.
    """
    if settings.method == "direct":
        raise VolforgeError(
            "the method `direct` measures a mask that is there already", remedy="use `volforge measure`"
        )
    refuse_folder("--out", out, files.named())
    joint, grid = _joint(files, settings)
    record = side_record(joint)
    with whole_folder(out) as folder:
        own = joint.inflated.space.astype(np.uint8)
        own[joint.inflated.joint_space] = 2
        write_nifti(folder / "negative_volume.nii.gz", back_on_scan(own, joint.bones.frame, grid), grid)
        write_meshes(folder, "joint", joint, negative_volume_mesh(joint))
        write_json(folder / FILE, {**_how(settings), **record})
    yield f"negative volume {record['negative_volume_mm3']:.0f} mm3, joint space {_mm3(record['joint_space_mm3'])}"
    if joint.width is not None:
        known = record["joint_space_mean_mm"], record["joint_space_min_mm"]
        mean, least = ("unknown" if v is None else f"{v:.2f} mm" for v in known)
        yield f"width: mean {mean}, smallest {least}; {record['unresolved_percent'] or 0:.0f} % unresolved"
    yield f"contact: {record['contact_area_mm2']:.1f} mm2"
    for flag in joint.flags:
        yield f"{flag}: {FLAGS[flag]}"
    yield str(out)


def compare_files(sides: Mapping[str, ByHand], out: Path, settings: JointSettings) -> Iterator[str]:
    """Measure both joints and compare them.

    Yields:
        Lines for the terminal.

    Raises:
        VolforgeError: unreadable files, other grids, no condyle, unknown method.
    """
    inputs = {f"{name} of the {side} side": f for side, files in sides.items() for name, f in files.named().items()}
    refuse_places({"--out": out}, inputs)
    if out.suffix != ".json":
        raise VolforgeError("the comparison is written as .json", f"--out {out}", "name such a file")
    joints = {side: _joint(files, settings)[0] for side, files in sides.items()}
    records = {side: side_record(joint) for side, joint in joints.items()}
    found = asymmetry_record(records, joints)
    write_json(out, {**_how(settings), "sides": records, "asymmetry": found})
    for name in ("joint_space_mm3", "negative_volume_mm3"):
        left, right = (records[s][name] for s in ("left", "right"))
        index = found[name]["signed_percent"]
        shown = "unknown" if index is None else f"{index:+.1f} %"
        words = name.removesuffix("_mm3").replace("_", " ")
        yield f"{words}: left {_mm3(left)}, right {_mm3(right)}, asymmetry {shown}"
    for entry in found.get("shapes", []):
        value = "unknown" if entry["value"] is None else f"{entry['value']:.3f}"
        yield f"{entry['structure'].replace('_', ' ')}, {entry['measure']}: {value}"
    yield str(out)


def _how(settings: JointSettings) -> dict[str, object]:
    return {"method": settings.method, "r_max_mm": settings.r_max_mm, "joint_space_mm": settings.joint_space_mm}


def _mm3(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f} mm3"


def _joint(files: ByHand, settings: JointSettings) -> tuple[Joint, Grid]:
    condyle, grid = _mask(files.condyle, files.condyle_ids, None)
    barrier, _ = _mask(files.barrier, files.barrier_ids, (grid, files.condyle))
    if files.barrier == files.condyle and files.barrier_ids == files.condyle_ids:
        raise VolforgeError(
            "condyle and barrier are the same voxels", str(files.condyle), "name ids: --condyle-ids 1 --barrier-ids 3"
        )
    others = None
    if files.others is not None:
        others = _mask(files.others, files.other_ids, (grid, files.condyle))[0] & ~condyle & ~barrier
    image = None
    if files.image is not None:
        image = _canonical(files.image, (grid, files.condyle), labels=False)[0].astype(np.float32)
    return measure_joint(condyle, barrier & ~condyle, others, grid, settings, image), grid


def _mask(path: Path, ids: str | None, like: tuple[Grid, Path] | None) -> tuple[Array, Grid]:
    values, grid = _canonical(path, like, labels=True)
    if ids is None:
        return values > 0, grid
    try:
        wanted = [int(word) for word in ids.split(",")]
    except ValueError:
        raise VolforgeError(f"'{ids}' are no ids", remedy="write 3 or 3,4") from None
    if min(wanted) < 1:
        raise VolforgeError(f"'{ids}' are no ids", remedy="ids begin with 1: 0 is the background")
    mask = holding(values, wanted)
    if not mask.any():
        present = ", ".join(f"{v:g}" for v in np.unique(values)[:12])
        raise VolforgeError(f"no voxel has the id {ids}", str(path), f"ids of the file: {present}")
    return mask, grid


def _canonical(path: Path, like: tuple[Grid, Path] | None, *, labels: bool) -> tuple[Array, Grid]:
    volume = read_volume(path, labels=labels)
    turn = reorientation_of(volume.grid.affine)
    grid = turn.canonical(volume.grid)
    if like is not None and not same_place(grid, like[0]):
        raise VolforgeError(
            f"not on the grid of {like[1]}: {describe(grid)}; that one: {describe(like[0])}",
            str(path),
            "resample it there",
        )
    values = np.asfortranarray(turn.apply(values_of(volume, labels=labels)))
    if not np.isfinite(values).all():
        count = np.count_nonzero(~np.isfinite(values))
        raise VolforgeError(f"{count} voxels are not finite (NaN or infinity)", str(path), "mend the file")
    return values, grid
