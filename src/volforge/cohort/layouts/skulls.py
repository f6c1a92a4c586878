"""Skulls with defects and implants: SkullFix, SkullBreak, MUG500+."""

from __future__ import annotations

from volforge.cohort.layouts.discovery import Discovery, Found, Options, Tree, is_test_folder, without_labels

DEFECTS = ("bilateral", "frontoorbital", "parietotemporal", "random_1", "random_2")


def find_skullfix(tree: Tree, options: Options) -> Discovery:
    """`{complete_skull,defective_skull,implant}/NNN.nrrd`; the test set has the defective skull alone."""
    found = Discovery()
    complete = {g["at"] + g["n"]: p for p, g in tree.match(r"complete_skull/(?P<n>\d{3})\.nrrd")}
    implants = {g["at"] + g["n"]: p for p, g in tree.match(r"implant/(?P<n>\d{3})\.nrrd")}
    bare: list[Found] = []
    for path, g in tree.match(r"defective_skull/(?P<n>\d{3})\.nrrd"):
        if is_test_folder(g["at"]):
            continue
        key, n = g["at"] + g["n"], g["n"]
        row = Found(f"skullfix-{n}", f"skullfix-{n}", "mask", defective=path, implant=implants.get(key))
        row.image = complete.get(key)
        if row.image is None or row.implant is None:
            found.left_out.append((tree.relative(path), "complete skull or implant is missing"))
        else:
            found.rows.append(row)
    for path, g in tree.match(r"test_set[^/]*/(?:defective_skull/)?(?P<n>\d{3})\.nrrd"):
        name = f"skullfix-test-{g['n']}"
        bare.append(Found(name, name, "mask", defective=path, split="test"))
    without_labels(found, bare, options, "defective skulls of the test set: implants are not published")
    return found


def find_skullbreak(tree: Tree, options: Options) -> Discovery:
    """`{defective_skull,implant}/<defect>/NNN.nrrd` with `complete_skull/NNN.nrrd`: five defects of each skull."""
    found = Discovery()
    kinds = "|".join(DEFECTS)
    complete = {
        (g["at"], g["kind"], g["n"]): p
        for p, g in tree.match(rf"complete_skull/(?:(?P<kind>{kinds})/)?(?P<n>\d{{3}})\.nrrd")
    }
    implants = {
        (g["at"], g["kind"], g["n"]): p for p, g in tree.match(rf"implant/(?P<kind>{kinds})/(?P<n>\d{{3}})\.nrrd")
    }
    bare: list[Found] = []
    for path, g in tree.match(rf"defective_skull/(?P<kind>{kinds})/(?P<n>\d{{3}})\.nrrd"):
        key = (g["at"], g["kind"], g["n"])
        is_test = is_test_folder(g["at"])
        subject = f"skullbreak-{'test-' if is_test else ''}{g['n']}"
        row = Found(subject, f"{subject}-{g['kind']}", "mask", defective=path, free={"defect": g["kind"]})
        row.image = complete.get((g["at"], "", g["n"])) or complete.get(key)
        row.implant = implants.get(key)
        if row.image and row.implant:
            found.rows.append(row)
        elif is_test:
            bare.append(row)
        else:
            found.left_out.append((tree.relative(path), "complete skull or implant is missing"))
    found.rows.sort(key=lambda r: r.subject)
    without_labels(found, bare, options, "defective skulls of the test set: implants are not published")
    return found


def find_mug500(tree: Tree, options: Options) -> Discovery:
    """`A0001/A0001.nrrd` healthy skulls; `B0001/B0001.nrrd` with `B0001_implant.stl` after craniotomy."""
    found = Discovery()
    for path, g in tree.match(r"(?P<n>[AB]\d{4})\.nrrd"):
        row = Found(g["n"], g["n"], "mask", free={"kind": "healthy" if g["n"][0] == "A" else "craniotomy"})
        if g["n"][0] == "A":
            row.image = path
        else:
            row.defective = path
            hits = tree.match(rf"{g['n']}_implant\.stl")
            row.implant = found.one_each(("implant", p) for p, h in hits if h["at"].startswith(g["at"])).get("implant")
            if row.implant is None:
                found.left_out.append((g["n"], "its implant (STL) is missing; listed without"))
        found.rows.append(row)
    return found
