"""SynthRAD2023 and SynthRAD2025: MR or CBCT, registered rigidly to a CT, with an outline of the body."""

from __future__ import annotations

from volforge.cohort.layouts.discovery import Discovery, Found, Options, Tree

MODALITY = {"ct": "CT", "mr": "MR", "cbct": "CBCT"}


def find_synthrad2023(tree: Tree, options: Options) -> Discovery:
    """`Task<n>/<region>/<patient>/{mr|cbct,ct,mask}.nii.gz`; `overview` folders hold no scans."""

    def contrast(patient: str) -> str:
        # brain: T1 gradient echo, with gadolinium in centres B and C; pelvis: A T1 gradient echo, C T2 fast spin echo
        region, centre = patient[1], patient[2]
        if region == "B":
            return "T1" if centre == "A" else "T1_gd"
        return "T1" if centre == "A" else "T2"

    pattern = r"(?P<region>[^/]+)/(?P<patient>[12][BP][ABC]\d{3})/(?P<kind>ct|mr|cbct)\.nii\.gz"
    return _find(tree, pattern, "mask.nii.gz", 2, contrast)


def find_synthrad2025(tree: Tree, options: Options) -> Discovery:
    """`Task<n>/<region>/<patient>/{mr|cbct,ct,mask}.mha`; `overviews` folders hold no scans."""
    pattern = r"(?P<region>[^/]+)/(?P<patient>[12](?:HN|TH|AB)[A-E]\d{3})/(?P<kind>ct|mr|cbct)\.mha"
    found = _find(tree, pattern, "mask.mha", 3, lambda patient: "")
    weak = sorted({r.subject for r in found.rows if r.subject[:4] in ("1HNC", "1ABB", "1THB")})
    if weak:
        found.notes.append(
            "the data paper names weak groups: 1HNC (small MR field of view, poor registration), 1ABB and 1THB "
            f"(masks cut in z); {len(weak)} of these patients are listed"
        )
    return found


def _find(tree: Tree, pattern: str, mask_name: str, centre_at: int, contrast: object) -> Discovery:
    found = Discovery()
    assert callable(contrast)
    for path, g in tree.match(pattern):
        patient, kind = g["patient"], g["kind"]
        mask = tree.get(tree.relative(path.with_name(mask_name)))
        found.rows.append(
            Found(
                patient,
                f"{patient}-{kind}",
                MODALITY[kind],
                contrast=contrast(patient) if kind == "mr" else "",
                frame="1",
                image=path,
                body_mask=mask,
                free={"task": patient[0], "region": g["region"], "centre": patient[centre_at]},
            )
        )
    for path, _ in tree.match(r"[^/]+/ct_def\.mha"):
        found.left_out.append((tree.relative(path), "CT deformed to the MR, of the organisers' evaluation"))
    return found
