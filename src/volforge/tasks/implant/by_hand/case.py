"""One skull by hand: from a scan to a folder with the completed skull, the implant, meshes, numbers and a page.

What the web demonstration of the paper did (Li et al., Medical Image Analysis 73:102171, 2021: upload a skull, see
its implant, download it), as a command.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from volforge import __version__
from volforge.errors import VolforgeError
from volforge.shape.mesh import Mesh, write_ply, write_stl
from volforge.shape.meshlab import simplified
from volforge.tasks.implant.by_hand.options import CaseOptions
from volforge.tasks.implant.by_hand.page import Surface, page_of
from volforge.tasks.implant.by_hand.pieces import Pieces, finished, joined, maps_on
from volforge.tasks.implant.by_hand.scan import Scan, read_scan
from volforge.tasks.implant.by_hand.sentences import sentences
from volforge.tasks.implant.by_hand.skull_mesh import skull_mesh
from volforge.tasks.implant.by_hand.slices import three_planes
from volforge.tasks.implant.by_hand.stages import Stages
from volforge.tasks.implant.kriging.case import Kriged, krige
from volforge.tasks.implant.kriging.doubts import Doubt, signs_of
from volforge.tasks.implant.kriging.fit import KrigedModel
from volforge.tasks.implant.kriging.model import load_kriged
from volforge.tasks.implant.made import Made
from volforge.tasks.implant.mesh import Space
from volforge.training.trained_files import versions
from volforge.volume.folders import whole_folder, write_json
from volforge.volume.geometry import Array
from volforge.volume.restore import source_grid, write_on_source_grid
from volforge.volume.write_nrrd import write_nrrd
from volforge.whole_file import write_whole

PACKAGES = ("numpy", "scipy", "numba", "scikit-image", "trimesh", "pymeshlab")
PAGE_FACES = (60_000, 24_000)
"""Of the skull and of all implants on the page."""


def predict_case(
    scan: Path, model: Path, out: Path, options: CaseOptions | None = None, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Complete one skull and write all that is handed over, into a folder that appears whole.

    Args:
        scan: A CT or a mask of a skull with a hole: any file that `read_volume` reads.
        model: Folder of a fitted model.
        out: Folder to write: see docs/implants.md.
        options: How.
        say: Told what is done, and every flag.

    Returns:
        The content of report.json.

    Raises:
        VolforgeError: The scan or the model cannot be used; the skull has no hole that can be closed.
    """
    options = options or CaseOptions()
    stages = Stages(say)
    with stages.stage("read"):
        fitted, about = load_kriged(model)
        read = read_scan(scan, options)
    with stages.stage("complete"):
        found = completed(fitted, read, str(scan), options)
    with stages.stage("finish"):
        try:
            pieces = finished(found.implant, read.skull, read.grid, options)
        except VolforgeError as error:
            error.where = error.where or str(scan)
            raise
    limits = {k: float(v) for k, v in about.get("thresholds", {}).items()}
    flags = sentences(read, found, pieces, limits)
    with whole_folder(out) as folder:
        with stages.stage("volumes"):
            _write_volumes(folder, read, found, pieces, options)
        with stages.stage("meshes"):
            skull = _write_meshes(folder, read, found, pieces, fitted, options)
        with stages.stage("page"):
            slices = [
                s for n in range(len(pieces.made)) for s in three_planes(read, _mask(pieces, n), _called(n + 1, pieces))
            ]
            surfaces = _surfaces(skull, pieces, found, fitted)
        report = report_of(scan, read, found, pieces, flags, about, limits, stages, options.space)
        write_whole(folder / "qc.html", page_of(f"Implant of {scan.name}", report, flags, slices, surfaces))
        write_json(folder / "report.json", report)
    for flag in flags:
        say(flag.text)
    return report


def completed(model: KrigedModel, scan: Scan, where: str, options: CaseOptions) -> Kriged:
    """The completed skull of a scan.

    Raises:
        VolforgeError: No hole, or none that can be closed.
    """
    skull = np.ascontiguousarray(scan.skull).view(np.uint8)
    try:
        found = krige(model, skull, scan.grid.affine, most_unseen=options.most_unseen, least_mm2=options.least_mm2)
    except VolforgeError as error:  # it knows a skull, and no file
        raise VolforgeError(error.message, where, error.remedy) from error
    if not found.holes:
        raise VolforgeError(
            "the skull has no hole in the region that the model knows",
            where,
            "look at the scan; holes below the vault are not seen, smaller ones than 130 mm2 with --least-mm2 alone",
        )
    if found.maps is None:
        raise VolforgeError(
            "bone is missing only where the scan ends, which is no hole that could be closed",
            where,
            "take a scan that shows the skull to its vertex",
        )
    return found


def _called(number: int, pieces: Pieces) -> str:
    return f" {number}" if len(pieces.made) > 1 else ""


def _mask(pieces: Pieces, number: int) -> Array:
    """One implant on the whole grid."""
    whole = np.zeros(pieces.mask.shape, bool, order="F")
    whole[pieces.boxes[number]] = pieces.made[number].mask
    return whole


def _write_volumes(folder: Path, scan: Scan, found: Kriged, pieces: Pieces, options: CaseOptions) -> None:
    """complete, implant and uncertainty on the grid of the scan's file."""
    assert found.found is not None
    implant = pieces.mask.view(np.uint8)
    volumes: list[tuple[str, Callable[[], Array], bool]] = [
        ("complete", lambda: (scan.skull | pieces.mask).view(np.uint8), True),
        ("implant", lambda: implant, True),
        ("uncertainty", lambda: _probability(scan, found), False),
    ]
    for name, made, labels in volumes:
        values = made()
        write_on_source_grid(folder / f"{name}.nii.gz", values, scan.record, labels=labels)
        if "nrrd" in options.formats:
            grid, turn, _ = source_grid(scan.record)
            write_nrrd(folder / f"{name}.nrrd", turn.invert(values), grid)


def _probability(scan: Scan, found: Kriged) -> Array:
    """(X, Y, Z) float32: probability of bone in hundredths; 1 where the scan shows bone."""
    assert found.found is not None
    whole = scan.skull.astype(np.float32)
    whole[found.found.box] = np.round(found.found.bone, 2)
    return whole


def _write_meshes(
    folder: Path, scan: Scan, found: Kriged, pieces: Pieces, model: KrigedModel, options: CaseOptions
) -> Mesh:
    """STL and PLY of the implants, STL of the skull; returns the latter."""

    def axes(mesh: Mesh) -> Mesh:
        return mesh if options.space == "RAS" else mesh.moved(mesh.vertices * np.array([-1.0, -1.0, 1.0]))

    made = [(p, p.mesh.mesh) for p in pieces.made if p.mesh is not None]
    maps = [maps_on(piece, mesh, found, model) for piece, mesh in made]
    named = [(f"implant_{n}", [n - 1]) for n in range(1, len(made) + 1)] if len(made) > 1 else []
    for name, numbers in [("implant", list(range(len(made)))), *named]:
        mesh = axes(joined([made[n][1] for n in numbers]))
        values = {k: np.concatenate([maps[n][k] for n in numbers]) for k in maps[0]}
        write_stl(folder / f"{name}.stl", mesh, name, options.space)
        write_ply(folder / f"{name}.ply", mesh, None, values, options.space)
    skull = skull_mesh(scan.skull, scan.grid, 2 * options.faces)
    write_stl(folder / "skull.stl", axes(skull), "skull", options.space)
    return skull


def _surfaces(skull: Mesh, pieces: Pieces, found: Kriged, model: KrigedModel) -> list[Surface]:
    """What the page turns."""
    each = PAGE_FACES[1] // len(pieces.made)
    surfaces = [Surface("skull", simplified(skull, PAGE_FACES[0]), {})]
    for number, piece in enumerate(pieces.made, 1):
        assert piece.mesh is not None
        mesh = simplified(piece.mesh.mesh, each)
        surfaces.append(Surface(f"implant{_called(number, pieces)}", mesh, maps_on(piece, mesh, found, model)))
    return surfaces


def report_of(
    scan: Path,
    read: Scan,
    found: Kriged,
    pieces: Pieces,
    flags: list[Doubt],
    about: Mapping[str, Any],
    limits: Mapping[str, float],
    stages: Stages,
    space: Space,
) -> dict[str, Any]:
    """The content of report.json; directions and places are in RAS, whatever axes the meshes have."""
    return {
        "format": 1,
        "scan": {
            "name": scan.name,
            "modality": read.modality,
            "shape": list(read.grid.shape),
            "spacing_mm": [round(s, 4) for s in read.grid.spacing_mm],
            "flags": sorted(set(read.flags)),
            "notes": list(read.notes),
            "metal": read.metal,
        },
        "volume_cm3": round(float(np.count_nonzero(pieces.mask)) * read.grid.voxel_mm3 / 1000, 4),
        "steps": [s.record for s in pieces.steps],
        "implants": [_record_of(p, space) for p in pieces.made],
        "holes": [
            {
                "area_mm2": round(h.area_mm2, 1),
                "at_edge": h.at_edge,
                "out_of_view": h.out_of_view,
                "unseen": round(h.unseen, 4),
                "left_open": h.left_open,
            }
            for h in found.holes
        ],
        "signs": {k: None if math.isnan(v) else round(v, 4) for k, v in signs_of(found).items()},
        "limits": dict(limits),
        "flags": [{"code": f.code, "text": f.text} for f in flags],
        "model": {"sha256": about["sha256"], "licence": str(about.get("licence", ""))},
        "cost": stages.record,
        "versions": {"volforge": __version__, **versions(PACKAGES)},
    }


def _record_of(piece: Made, space: Space) -> dict[str, Any]:
    """What is known of one implant."""
    record = piece.record
    return {**record, "mesh": {**record["mesh"], "space": space}}
