"""AutoPET: whole-body CT of PET/CT studies, with lesions; in its nnU-Net layout and in folders per study."""

from __future__ import annotations

from volforge.cohort.layouts.discovery import Discovery, Found, Options, Tree
from volforge.cohort.layouts.nnunet import give_folds

LESION = {"tumour": 1}
ONLY_LESIONS = "labels are lesions only: an anatomy map must be made (the cohort's `labels_command`)"


def find_autopet(tree: Tree, options: Options) -> Discovery:
    """AutoPET III and later: `imagesTr/<tracer>_<patient>_<study>_0000.nii.gz` is CT, `_0001` is PET."""
    found = Discovery(structures=dict(LESION), notes=[ONLY_LESIONS])
    pattern = r"imagesTr/(?P<case>(?P<patient>(?:fdg|psma)_[0-9a-fA-F]+)_(?P<study>.+))_(?P<channel>000[01])\.nii\.gz"
    hits = tree.match(r"labelsTr/(?P<case>(?:fdg|psma)_[0-9a-fA-F]+_.+)\.nii\.gz")
    labels = found.one_each((g["case"], p) for p, g in hits)
    pet, at = 0, ""
    cases: dict[str, str] = {}
    counts: dict[str, int] = {}
    for path, g in tree.match(pattern):
        at = g["at"]
        if g["channel"] == "0001":
            pet += 1
            continue
        counts[g["patient"]] = counts.get(g["patient"], 0) + 1
        scan = f"{g['patient']}-{counts[g['patient']]}"
        cases[g["case"]] = scan
        label = labels.get(g["case"])
        found.rows.append(
            Found(
                g["patient"],
                scan,
                "CT",
                image=path,
                labels=label,
                label_source=(options.label_source or "expert") if label else "",
                free={"case": g["case"], "tracer": g["patient"].split("_")[0]},
            )
        )
    if pet:
        found.left_out.append((f"{pet} images of channel 1", "PET is no modality of a sheet"))
    if found.rows and tree.get(f"{at}splits_final.json"):
        _folds_of_patients(found, tree, at)
    return found


def _folds_of_patients(found: Discovery, tree: Tree, at: str) -> None:
    """Its folds, if no patient stands in two of them: a patient has several studies."""
    by_case = {r.free["case"]: r for r in found.rows}
    for row in found.rows:
        row.subject, row.free["patient"] = row.free["case"], row.subject
    give_folds(found, tree, at)
    folds: dict[str, set[str]] = {}
    for row in by_case.values():
        row.subject = row.free.pop("patient")
        folds.setdefault(row.subject, set()).add(row.fold)
    if any(len(f) > 1 for f in folds.values()):
        for row in found.rows:
            row.fold = ""
        found.notes[:] = [n for n in found.notes if "splits_final" not in n]
        found.notes.append("splits_final.json parts studies of one patient: its folds were not taken")
        found.settings.pop("folds", None)


def find_autopet_studies(tree: Tree, options: Options) -> Discovery:
    """FDG-PET-CT-Lesions: `<patient>/<study>/CTres.nii.gz` with `SEG.nii.gz` on the grid of the PET."""
    found = Discovery(structures=dict(LESION), notes=[ONLY_LESIONS])
    counts: dict[str, int] = {}
    for path, g in tree.match(r"(?P<patient>PETCT_[0-9a-fA-F]+)/(?P<study>[^/]+)/CTres\.nii\.gz"):
        counts[g["patient"]] = counts.get(g["patient"], 0) + 1
        segmentation = tree.get(tree.relative(path.with_name("SEG.nii.gz")))
        found.rows.append(
            Found(
                g["patient"],
                f"{g['patient']}-{counts[g['patient']]}",
                "CT",
                image=path,
                labels=segmentation,
                label_source=(options.label_source or "expert") if segmentation else "",
                free={"study": g["study"]},
            )
        )
    return found
