"""A cohort of defects from the complete skulls of a sheet: volumes, a record of each, and a sheet of them all."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from volforge import __version__
from volforge.cohort.phantoms.fields import stream
from volforge.cohort.sheet import COLUMNS, SCAN, Sheet, SheetRow, read_sheet
from volforge.errors import ProblemsError, VolforgeError, errors_of
from volforge.tasks.implant.bone import BONE_HU, skull_of_ct
from volforge.tasks.implant.defects.draw import FORMAT, DefectOptions, Word, draw_defect
from volforge.tasks.implant.defects.shapes import KINDS
from volforge.tasks.implant.defects.vault import vault_of
from volforge.volume.companions import channel_of
from volforge.volume.folders import read_json, sha256_of, write_json
from volforge.volume.geometry import Array, Grid, Reorientation, reorientation_of
from volforge.volume.intensity import canonical_values
from volforge.volume.read import read_volume
from volforge.volume.source_volume import SourceVolume, scaled
from volforge.volume.write import write_nifti
from volforge.whole_file import write_whole

FILES = ("image", "defective", "implant")
OWN = ("defect", "place", "size", "size_cm3", "source_scan")


@dataclass(frozen=True)
class Plan:
    """What is drawn.

    Attributes:
        per_skull: Defects of every skull.
        kinds, places, sizes: What they are dealt from: the defects of a skull go through the combinations in turn,
            from a start that depends on the skull.
        seed: Of all draws.
        bone_hu: Threshold of bone, for CT.
    """

    per_skull: int
    kinds: tuple[str, ...] = KINDS
    places: tuple[str, ...] = ("any",)
    sizes: tuple[str, ...] = ("any",)
    seed: int = 1
    bone_hu: float = BONE_HU

    def options(self, cohort: str, scan: str, index: int) -> DefectOptions:
        """What is asked of a defect."""
        combinations = list(product(self.places, self.sizes, self.kinds))
        start = int(stream(self.seed, "combinations", cohort, scan).integers(len(combinations)))
        place, size, kind = combinations[(start + index) % len(combinations)]
        return DefectOptions(kind, place, size)


@dataclass(frozen=True)
class Skull:
    """A complete skull as it was read.

    Attributes:
        mask: (X, Y, Z) bool along RAS.
        grid: Its grid.
        turn: The way there from the file.
        source: The file.
    """

    mask: Array
    grid: Grid
    turn: Reorientation
    source: SourceVolume


def make_defects(
    sheet: Path, out: Path, plan: Plan, root: Path | None = None, say: Callable[[str], None] = lambda _: None
) -> Path:
    """Write defects of every complete skull of a sheet: `image` of a mask, or a CT whose bone is taken.

    Of each `<scan>-<index>_image|defective|implant.nii.gz` on the grid of the file, `<scan>-<index>_defect.json`, and
    at the end `<name of the sheet>.tsv`. What lies there and fits (same source, seed and options, same bytes) is kept.

    Args:
        sheet: Sample sheet.
        out: Folder to write into.
        plan: What is drawn.
        root: Folder that the sheet's paths start from.
        say: Told a line for every defect, and what was left out.

    Returns:
        The sheet that was written.

    Raises:
        VolforgeError: The sheet has problems or no complete skull; a file cannot be used; no defect was found.
    """
    if plan.per_skull < 1:
        raise VolforgeError("no defect is asked for", remedy="ask for one per skull at least")
    table = read_sheet(sheet, root=root)
    if errors_of(table.problems):
        raise ProblemsError(table.problems)
    cohort = sheet.name.rsplit(".", 1)[0]
    final = out / f"{cohort}.tsv"
    if final.exists() and final.samefile(sheet):
        raise VolforgeError("the new sheet would replace the one that is read", str(final), "name another folder")
    rows = [r for r in table.rows if _is_complete(r)]
    for row in table.rows:
        if not _is_complete(row):
            say(f"left out: {row.scan}: no complete skull (`image` of modality mask or CT)")
    if not rows:
        text = "no scan has a complete skull: `image` of modality mask, or a CT"
        raise VolforgeError(text, str(sheet), "fill these columns of the sheet")
    for row in rows:
        if not SCAN.match(f"{row.scan}-{plan.per_skull - 1}"):
            raise VolforgeError(f"the name '{row.scan}' leaves no room for an index", str(sheet), "use 60 letters")
        for index in range(plan.per_skull):
            plan.options(cohort, row.scan, index)  # an unknown word is told before the first skull is read
    lines = [line for row in rows for line in _defects_of(row, cohort, out, plan, say)]
    write_whole(final, _sheet_text(table, rows, lines, cohort, plan))
    return final


def _is_complete(row: SheetRow) -> bool:
    return row.modality in ("mask", "CT") and "image" in row.files


def _defects_of(
    row: SheetRow, cohort: str, out: Path, plan: Plan, say: Callable[[str], None]
) -> Iterator[dict[str, str]]:
    """The rows of the new sheet for one skull; its files are there when a row comes."""
    source = sha256_of(Path(channel_of(row.files["image"])[0]))
    skull: Skull | None = None
    vault = None
    for index in range(plan.per_skull):
        options = plan.options(cohort, row.scan, index)
        name = f"{row.scan}-{index}"
        words: tuple[Word, ...] = (plan.seed, cohort, row.scan, index)
        request = {
            "format": FORMAT,
            "seed_words": list(words),
            "options": asdict(options),
            "source_sha256": source,
            "bone_hu": plan.bone_hu if row.modality == "CT" else None,
        }
        record = _standing(out, name, request)
        if record is None:
            skull = skull or read_complete(row, plan.bone_hu)
            vault = vault or vault_of(skull.mask, skull.grid.affine)
            try:
                defect = draw_defect(skull.mask, skull.grid.affine, options, words, vault)
            except VolforgeError as error:
                error.where = f"scan {row.scan}, defect {index}"
                raise
            record = {**request, **defect.record, "volforge": __version__}
            record["files"] = _write(out, name, skull, defect.mask)
            write_json(out / f"{name}_defect.json", record)
        say(f"{name}: {record['kind']}, {record['place']}, {record['size_cm3']:.1f} cm3")
        yield _line(row, name, record)


def read_complete(row: SheetRow, bone_hu: float = BONE_HU) -> Skull:
    """The complete skull of a row: its mask, or the bone of its CT.

    Args:
        row: Of a sheet, with `image`, of modality mask or CT.
        bone_hu: Threshold of bone.

    Raises:
        VolforgeError: The file cannot be read, is empty or no mask, or the CT is not in HU.
    """
    path = Path(row.files["image"])
    is_mask = row.modality == "mask"
    source = read_volume(path, labels=is_mask)
    turn = reorientation_of(source.grid.affine)
    grid = turn.canonical(source.grid)
    values = np.asfortranarray(turn.apply(scaled(source)))
    try:
        if is_mask:
            mask = values != 0
            if mask.any() and (values[mask] != values[mask][0]).any():
                raise VolforgeError("a mask has the values 0 and one other, this has more", remedy="give a binary mask")
        else:
            if not row.unit.startswith("hu"):
                raise VolforgeError(f"a CT of unit '{row.unit}' has no threshold of bone", remedy="set `unit` to hu")
            hounsfield = canonical_values(values, row.unit).array
            mask = skull_of_ct(hounsfield, grid.spacing_mm, bone_hu, defective=False)
        if not mask.any():
            raise VolforgeError("the mask is empty", remedy="export it again")
    except VolforgeError as error:
        error.where = error.where or str(path)
        raise
    return Skull(mask, grid, turn, source)


def _standing(out: Path, name: str, request: dict[str, Any]) -> dict[str, Any] | None:
    """The record of a defect that lies there whole and is the one that is asked for; else None."""
    place = out / f"{name}_defect.json"
    if not place.is_file():
        return None
    record = read_json(place)
    if not isinstance(record, dict) or any(record.get(key) != value for key, value in request.items()):
        return None
    files = record.get("files")
    if not isinstance(files, dict) or set(files) != set(FILES):
        return None
    paths = {column: out / f"{name}_{column}.nii.gz" for column in FILES}
    if all(p.is_file() and sha256_of(p) == files[c] for c, p in paths.items()):
        return record
    return None


def _write(out: Path, name: str, skull: Skull, implant: Array) -> dict[str, str]:
    """Write the three volumes on the grid of the source; their hashes."""
    source = skull.source
    header = source.header if source.planes is None and source.header else None
    volumes = {"image": skull.mask, "defective": skull.mask & ~implant, "implant": implant}
    hashes = {}
    for column, mask in volumes.items():
        path = out / f"{name}_{column}.nii.gz"
        write_nifti(path, np.asfortranarray(skull.turn.invert(mask.astype(np.uint8))), source.grid, header)
        hashes[column] = sha256_of(path)
    return hashes


def _line(row: SheetRow, name: str, record: dict[str, Any]) -> dict[str, str]:
    own = {
        "subject": row.subject,
        "scan": name,
        "modality": "mask",
        **{column: f"{name}_{column}.nii.gz" for column in FILES},
        "split": row.split,
        "fold": "" if row.fold is None else str(row.fold),
        "defect": record["kind"],
        "place": record["place"],
        "size": record["size"],
        "size_cm3": f"{record['size_cm3']:.3f}",
        "source_scan": row.scan,
    }
    return {**{k: v for k, v in row.free.items() if k not in own}, **own}


def _sheet_text(table: Sheet, rows: Sequence[SheetRow], lines: list[dict[str, str]], cohort: str, plan: Plan) -> str:
    wanted = ("subject", "scan", "modality", *FILES, "split", "fold")
    free = [k for k in dict.fromkeys(k for r in rows for k in r.free) if k not in OWN]
    columns = [c for c in COLUMNS if c in wanted] + list(OWN) + free
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    writer.writerows([columns, *([line.get(c, "") for c in columns] for line in lines)])
    made = f"# defects drawn by volforge {__version__}, seed {plan.seed}, from the complete skulls of {cohort}\n"
    return made + "".join(f"# {c.lstrip('# ')}\n" for c in table.comments) + buffer.getvalue()
