"""`volforge shape`: negative volumes of jaw joints, of a study and by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Shapes: negative volumes of jaw joints, left against right.")

Masks = Annotated[str | None, typer.Option(help="Ids of a label map, `3` or `3,4`; empty: every voxel above 0.")]


@app.command()
def inflate(
    condyle: Annotated[Path, typer.Option(help="Mask or label map with the bone that is inflated.")],
    barrier: Annotated[Path, typer.Option(help="Mask or label map with the bone that confines it; same grid.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; it appears whole.")],
    condyle_ids: Masks = None,
    barrier_ids: Masks = None,
    others: Annotated[Path | None, typer.Option(help="Bone that only stops rays (rest of the mandible).")] = None,
    other_ids: Masks = None,
    image: Annotated[Path | None, typer.Option(help="CT on the same grid: widths are measured in it.")] = None,
    method: Annotated[str, typer.Option(help="ray, mesh, geodesic, euclid or ball.")] = "ray",
    r_max: Annotated[float, typer.Option(min=0.1, max=100, help="Longest way, mm.")] = 14.0,
    joint_space: Annotated[
        float | None, typer.Option(min=0.1, max=100, help="How far the barrier bounds the joint space, mm; else r-max.")
    ] = None,
    cube: Annotated[float, typer.Option(min=0.1, max=100, help="Edge of the clip cube, mm.")] = 30.0,
    step: Annotated[
        float | None, typer.Option(min=0.05, max=10, help="Edge of working voxels, mm; else 0.3 to 0.5.")
    ] = None,
    sensitivity: Annotated[
        list[float] | None, typer.Option(min=0.1, max=100, help="Further longest way, mm; repeatable.")
    ] = None,
) -> None:
    r"""Inflate a bone until another one confines it: negative volume, joint space, widths, meshes.

    Example: volforge shape inflate --condyle labels.nii.gz --condyle-ids 1 \
      --barrier labels.nii.gz --barrier-ids 3 --out joint
    """
    from volforge.by_hand.joints import ByHand, inflate_files
    from volforge.shape.joint import JointSettings

    files = ByHand(condyle, barrier, others, image, condyle_ids, barrier_ids, other_ids)
    settings = JointSettings(method, r_max, cube, step, tuple(sensitivity or ()), joint_space_mm=joint_space)
    for line in inflate_files(files, out, settings):
        typer.echo(line)


@app.command()
def asymmetry(
    left: Annotated[Path, typer.Option(help="Label map or mask with the left condyle.")],
    left_barrier: Annotated[Path, typer.Option(help="... and the left barrier.")],
    right: Annotated[Path, typer.Option(help="Label map or mask with the right condyle.")],
    right_barrier: Annotated[Path, typer.Option(help="... and the right barrier.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="JSON to write.")],
    left_ids: Masks = None,
    left_barrier_ids: Masks = None,
    right_ids: Masks = None,
    right_barrier_ids: Masks = None,
    method: Annotated[str, typer.Option(help="ray, mesh, geodesic, euclid or ball.")] = "ray",
    r_max: Annotated[float, typer.Option(min=0.1, max=100, help="Longest way, mm.")] = 14.0,
    joint_space: Annotated[
        float | None, typer.Option(min=0.1, max=100, help="How far the barrier bounds the joint space, mm; else r-max.")
    ] = None,
) -> None:
    r"""Left joint against right: indices of volumes, and distance of the mirrored and registered shapes.

    Example: volforge shape asymmetry --left labels.nii.gz --left-ids 1 \
      --left-barrier labels.nii.gz --left-barrier-ids 3 --right labels.nii.gz \
      --right-ids 2 --right-barrier labels.nii.gz --right-barrier-ids 4 --out \
      sides.json
    """
    from volforge.by_hand.joints import ByHand, compare_files
    from volforge.shape.joint import JointSettings

    sides = {
        "left": ByHand(left, left_barrier, None, None, left_ids, left_barrier_ids, None),
        "right": ByHand(right, right_barrier, None, None, right_ids, right_barrier_ids, None),
    }
    for line in compare_files(sides, out, JointSettings(method, r_max, joint_space_mm=joint_space)):
        typer.echo(line)


@app.command("inflate-arm")
def inflate_arm_(
    settings: Annotated[Path, typer.Option(help="predict.json of the arm.")],
    scans: Annotated[Path, typer.Option(help="scans.tsv of the cohort.")],
    out: Annotated[Path, typer.Option(help="Folder to write; it appears whole.")],
    fold: Annotated[int, typer.Option(help="Fold that is tested; 0 for the split `test`.")] = 0,
    labels: Annotated[Path | None, typer.Option(help="Folder of predictions; else the scans' own labels.")] = None,
) -> None:
    r"""Negative volumes of an arm of a study.

    Example: volforge shape inflate-arm --settings \
      results/studies/joints/labels/predict.json --scans \
      results/cohorts/mine/scans.tsv --out joints
    """
    from volforge.cli.model import predict

    predict(out, settings=settings, scans=scans, fold=fold, labels=labels)


@app.command("measure-arm")
def measure_arm_(
    settings: Annotated[Path, typer.Option(help="settings.json of the arm.")],
    scans: Annotated[Path, typer.Option(help="scans.tsv of the cohort.")],
    predictions: Annotated[Path, typer.Option(help="Folder of the arm's negative volumes.")],
    reference: Annotated[Path, typer.Option(help="That of the arm that inflates the scans' own labels.")],
    out: Annotated[Path, typer.Option(help="measures.tsv to write.")],
    cases: Annotated[Path, typer.Option(help="Folder to write: pictures and views of cases.")],
    fold: Annotated[int, typer.Option(help="Fold that is tested; 0 for the split `test`.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the arm.")] = 0,
) -> None:
    r"""Measures of an arm's negative volumes.

    Example: volforge shape measure-arm --settings \
      results/studies/joints/mesh/settings.json --scans \
      results/cohorts/mine/scans.tsv --predictions mesh --reference labels --out \
      measures.tsv --cases cases
    """
    from volforge.cli.study import measure

    measure(settings, scans, predictions, out, cases, fold, seed, reference=reference)
