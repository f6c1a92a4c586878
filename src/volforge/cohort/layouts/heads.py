"""Heads and necks: SegRap2023, HaN-Seg, ToothFairy, IXI, and the original layout of the jaw-joint paper."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from volforge.cohort.layouts.discovery import Discovery, Found, Options, Tree, number, unique, without_labels
from volforge.cohort.layouts.nnunet import find_nnunet, one_root
from volforge.cohort.layouts.tables import HANSEG, SEGRAP, TOOTHFAIRY, TOOTHFAIRY_3
from volforge.errors import VolforgeError
from volforge.tables.names import plain_name
from volforge.volume.read import read_volume
from volforge.volume.source_volume import label_ids

WRONG_IDS = "ToothFairy3S_0048"  # holds 60 and 160 for 38 and 138
JOINT_OBJECTS = {"M": "condyle", "C": "temporal_bone", "B": "ball"}
SIDES = {"L": "_left", "R": "_right", "": ""}


def find_segrap(tree: Tree, options: Options) -> Discovery:
    """`segrap_NNNN/{image,image_contrast,<organ>}.nii.gz`; organs of `..._Update_Labels` take precedence."""
    found = Discovery(structures=number(SEGRAP))
    organs: dict[str, dict[str, object]] = {}
    known = {o.lower(): o for o in SEGRAP}
    targets = 0
    drawn: list[tuple[tuple[str, str], Path]] = []
    for path, g in tree.match(r"(?P<case>segrap_\d{4})/(?P<organ>[^/]+)\.nii\.gz"):
        if g["organ"].lower() in known:
            drawn.append(((g["case"], known[g["organ"].lower()]), path))
        targets += g["organ"].startswith("GTV")
    for (case, organ), path in found.one_each(drawn, prefer=lambda p: "update" in tree.relative(p).lower()).items():
        organs.setdefault(case, {})[organ] = path
    bare: list[Found] = []
    for path, g in tree.match(r"(?P<case>segrap_\d{4})/(?P<kind>image|image_contrast)\.nii\.gz"):
        parts = [(plain_name(o), organs[g["case"]][o], "") for o in SEGRAP if o in organs.get(g["case"], {})]
        row = Found(
            g["case"],
            f"{g['case']}{'-contrast' if g['kind'] == 'image_contrast' else ''}",
            "CT",
            contrast="iv" if g["kind"] == "image_contrast" else "none",
            frame="1",
            image=path,
            parts=parts,  # type: ignore[arg-type]
            label_source=(options.label_source or "expert") if parts else "",
        )
        (found.rows if parts else bare).append(row)
    if targets:
        found.left_out.append((f"{targets} target volumes (GTV)", "no anatomy"))
    found.notes.append("organs overlap by intent (Brain holds BrainStem): where they do, the later id holds")
    without_labels(found, bare, options)
    return found


def find_hanseg(tree: Tree, options: Options) -> Discovery:
    """`case_NN/case_NN_{IMG_CT,IMG_MR_T1}.nrrd` with `case_NN_OAR_<organ>.seg.nrrd`, drawn on the CT."""
    found = Discovery(structures=number(HANSEG))
    organs: dict[str, list[tuple[str, object, str]]] = {}
    hits = tree.match(r"(?P<case>case_\d+)/(?P=case)_OAR_(?P<organ>[^/]+?)(?:\.seg)?\.nrrd")
    drawn = found.one_each(((g["case"], plain_name(g["organ"])), p) for p, g in hits)
    for (case, name), path in drawn.items():
        if name not in found.structures:
            found.structures[name] = max(found.structures.values()) + 1
        organs.setdefault(case, []).append((name, path, ""))
    bare: list[Found] = []
    for path, g in tree.match(r"(?P<case>case_\d+)/(?P=case)_IMG_(?P<kind>CT|MR_T1)\.nrrd"):
        is_ct = g["kind"] == "CT"
        parts = sorted(organs.get(g["case"], []), key=lambda p: found.structures[p[0]]) if is_ct else []
        row = Found(
            g["case"],
            f"{g['case']}-{'ct' if is_ct else 'mr'}",
            "CT" if is_ct else "MR",
            contrast="" if is_ct else "T1",
            image=path,
            parts=parts,  # type: ignore[arg-type]
            label_source=(options.label_source or "expert") if parts else "",
        )
        (bare if is_ct and not parts else found.rows).append(row)
    found.notes.append("MR and CT are not registered: their `frame` is left empty; the organs lie in CT space")
    found.notes.append("a mandible here includes the lower teeth")
    without_labels(found, bare, options)
    return found


def find_toothfairy(tree: Tree, options: Options) -> Discovery:
    """nnU-Net layout of ToothFairy 2 and 3: CBCT whose grey values are no HU."""
    files = list(tree.match(r"(?P<folder>images|labels)T[rs]/ToothFairy(?P<version>[123])[FPS]?_?\d+[^/]*"))
    if not files:
        return Discovery()
    places = sorted({g["at"] for _, g in files})
    if len(places) > 1:
        listed = ", ".join(p.rstrip("/") or "." for p in places)
        raise VolforgeError(f"{len(places)} sets, which share patients: {listed}", str(tree.folder), "name one of them")
    made_up: dict[str, Any] = {"channel_names": {"0": "CBCT"}, "labels": {}}
    root = one_root(tree, ("channel_names", "modality")) or (files[0][1]["at"], made_up)
    found = find_nnunet(tree, replace(options, modality="CBCT"), root)
    is_third = any(g["version"] == "3" for _, g in files)
    if not found.structures:
        table = TOOTHFAIRY_3 if is_third else TOOTHFAIRY
        found.structures = {plain_name(name): i for i, name in table.items()}
    for row in [r for r in found.rows if r.subject.startswith(WRONG_IDS)]:
        found.rows.remove(row)
        found.left_out.append((row.scan, "its map holds ids 60 and 160 for 38 and 138"))
    found.notes.append(
        "cohort P is annotated in part only (upper jaw in 124 of 417): a structure that is missing may be there; "
        "the condyles often lie outside of the field of view"
    )
    if is_third:
        found.notes.append("sets F and P are the patients of ToothFairy 2: do not use both as independent cohorts")
    return found


def find_ixi(tree: Tree, options: Options) -> Discovery:
    """`IXI002-Guys-0828-T1.nii.gz`; maps of regions beside or below by the same name with another ending."""
    found = Discovery()
    pattern = (
        r"(?P<stem>(?P<subject>IXI\d+)-(?P<site>Guys|HH|IOP)-(?P<scan>\d+)[-_](?P<kind>T1|T2|PD|MRA))\.nii(?:\.gz)?"
    )
    hits = tree.match(r"(?P<stem>IXI\d+-[^/]+?)_(?:DLMUSE|seg|dseg)\.nii(?:\.gz)?")
    maps = found.one_each(((g["stem"], p) for p, g in hits), prefer=lambda p: "_DLMUSE" in p.name)
    tables = found.one_each(("table", p) for p, _ in tree.match(r"[^/]*muse_dict\.csv"))
    for path in tables.values():
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [r for r in csv.DictReader(file) if r.get("Index", "").isdigit() and 0 < int(r["Index"]) < 300]
        found.structures = unique((r["Name"], int(r["Index"])) for r in rows)
    for path, g in tree.match(pattern):
        if g["stem"].startswith("IXI371-IOP-0970-MRA"):
            found.left_out.append((path.name, "known to be incomplete"))
            continue
        label = maps.get(g["stem"])
        found.rows.append(
            Found(
                g["subject"],
                f"{g['subject']}-{g['kind']}",
                "MR",
                contrast=g["kind"],
                image=path,
                labels=label,
                label_source=(options.label_source or "predicted") if label else "",
                free={"site": g["site"]},
            )
        )
    directions = len(list(tree.match(r"IXI\d+-[^/]+-DTI-\d+\.nii(?:\.gz)?")))
    if directions:
        found.left_out.append((f"{directions} diffusion volumes (DTI)", "one direction each"))
    if found.structures:
        _add_unnamed(found)
    if any(r.labels for r in found.rows) and not found.structures:
        found.notes.append("no muse_dict.csv: any id of the maps is accepted")
    return found


def _add_unnamed(found: Discovery, most: int = 3) -> None:
    """Ids that the first maps hold and the table does not name: they would refuse the scans."""
    known, extra = set(found.structures.values()), set()
    for row in [r for r in found.rows if r.labels and r.labels.stat().st_size > 1000][:most]:
        assert row.labels is not None
        array = label_ids(read_volume(row.labels, labels=True))
        extra |= {int(v) for v in np.unique(array)} - known - {0}
    found.structures |= {f"region_{v}": v for v in sorted(extra)}
    if extra:
        found.notes.append(f"ids without a name: {', '.join(map(str, sorted(extra)))}")


def find_negative_volume(tree: Tree, options: Options) -> Discovery:
    """`data_unzip/<id>/data/images/<id>` (DICOM) with surfaces `data_labeled/STLs/<id>_<object>` (STL)."""
    found = Discovery()
    surfaces: dict[str, dict[str, object]] = {}
    pattern = r"data_labeled/STLs/(?P<rest>.+\.stl)"
    images: dict[str, str] = {}
    for file in tree.files:
        hit = re.fullmatch(r"(.*?data_unzip/([^/]+)/data/images/[^/]+)/.+", file)
        if hit and images.setdefault(hit[2], hit[1]) != hit[1]:
            other = (hit[1], f"patient {hit[2]} has another folder of images")
            found.left_out += [other] if other not in found.left_out else []
    for path, g in tree.match(pattern):
        patient, key = _joint_object(g["rest"], set(images))
        if not key:
            found.left_out.append((tree.relative(path), "neither <id>_<object>.stl nor <object>_<id>.stl"))
            continue
        mine = surfaces.setdefault(patient, {})
        if key in mine:
            found.left_out.append((tree.relative(path), f"patient {patient} has another surface of {key}"))
        mine.setdefault(key, path)
    names = sorted({k for of in surfaces.values() for k in of}, key=lambda k: (k.rsplit("_", 1)[-1], k))
    found.structures = number(names)
    bare: list[Found] = []
    for patient, folder in images.items():
        parts = [(name, surfaces[patient][name], "") for name in names if name in surfaces.get(patient, {})]
        row = Found(patient, patient, options.modality or "CT", image=tree.folder / folder, parts=parts)  # type: ignore[arg-type]
        row.label_source = (options.label_source or "expert") if parts else ""
        (found.rows if parts else bare).append(row)
    for patient in sorted(set(surfaces) - set(images)):
        found.left_out.append((patient, "surfaces without images"))
    found.notes.append("objects: M condyle, C temporal bone, B ball around the joint; L and R are the patient's sides")
    without_labels(found, bare, options, "no surface")
    return found


def _joint_object(rest: str, patients: set[str]) -> tuple[str, str]:
    """Patient and structure of a surface: `<id>_<object>...` or, where that names none, `<object>_..._<id>`."""
    stem = re.sub(r"\.stl$", "", rest, flags=re.IGNORECASE).replace("/", "_")
    first = max((p for p in patients if stem.startswith(f"{p}_")), key=len, default="")
    last = max((p for p in patients if stem.endswith(f"_{p}")), key=len, default="")
    words = stem[len(first) :].split("_")
    objects = [w for w in words if re.fullmatch(r"[LR]?[MBC]", w)]
    if not objects or not (first or last):
        return "", ""
    side, kind = (objects[0][0], objects[0][1]) if len(objects[0]) == 2 else ("", objects[0])
    return first or last, JOINT_OBJECTS[kind] + SIDES[side]
