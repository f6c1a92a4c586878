"""`volforge model`: training of the models of a study, and what models or baselines make of scans."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from volforge import places
from volforge.errors import VolforgeError

app = typer.Typer(no_args_is_help=True, help="Models and baselines of a study: train, predict, export.")

LEAVE_OUT = "leave out --from; a task of your own that reads `job.start` says `begins_with_weights = True`"

Settings = Annotated[Path, typer.Option(help="settings.json of the arm.")]
Scans = Annotated[Path, typer.Option(help="scans.tsv of the cohort.")]
Fold = Annotated[int, typer.Option(help="Fold that is tested; 0 for the split `test`.")]
Seed = Annotated[int, typer.Option(help="Seed of the training, and of its prediction.")]


@app.command()
def train(
    settings: Annotated[Path, typer.Option(help="<model>.train.json of the arm.")],
    scans: Scans,
    out: Annotated[Path, typer.Option(help="Folder of the model; it appears whole.")],
    checkpoints: Annotated[Path, typer.Option(help="Folder of checkpoints: a training goes on where its last stands.")],
    fold: Fold = 0,
    seed: Seed = 0,
    distances: Annotated[Path | None, typer.Option(help="Folder of distance maps, for boundary losses.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="After so many minutes it keeps a checkpoint and exits by 75.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that load samples; 0: the training itself.")] = 0,
    attempt: Annotated[int, typer.Option(help="Number of the try; a retry without a new step fails.")] = 1,
    resume: Annotated[Path | None, typer.Option(help="Checkpoint of the same settings to go on from.")] = None,
    checkpoint_seconds: Annotated[float, typer.Option(help="Seconds between checkpoints.")] = 120.0,
    code: Annotated[str, typer.Option(help="Hash of the code: checkpoints of other code are set aside.")] = "",
    needs: Annotated[list[str] | None, typer.Option(help="NAME=FOLDER of each trained model that it reads.")] = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="Folder of a model whose weights it begins with, at step 0.")
    ] = None,
) -> None:
    r"""Train a model of a study. A signal (SIGTERM, SIGUSR1) keeps a checkpoint first.

    Example: volforge model train --settings \
      results/studies/organs/volforge/all.train.json --scans \
      results/cohorts/mine/scans.tsv --out model --checkpoints checkpoints
    """
    from volforge.cli.arguments import named_folders
    from volforge.study.jobs import TrainJob
    from volforge.training.attempt import failure_kept
    from volforge.volume.folders import read_object
    from volforge.whole_file import refuse_folder

    read = named_folders(needs or [], "--needs")
    job = TrainJob(
        scans,
        fold,
        seed,
        checkpoints,
        out,
        distances,
        minutes,
        workers,
        attempt,
        resume,
        checkpoint_seconds,
        code,
        read,
        start,
    )
    refuse_folder("--out", out, {"--from": start, **{f"--needs {name}": f for name, f in read.items()}})
    content = read_object(settings, "the settings of a model", "entry", "task")
    entry = content["entry"]
    if start is not None:
        from volforge.study.start import checked_start
        from volforge.tasks import registry

        if not registry.task(content["task"]).begins_with_weights:
            text = "this kind of training does not begin with other weights"
            raise VolforgeError(text, f"{settings}: task {content['task']}", LEAVE_OUT)
        begun = checked_start(start, content, scans, fold).record
        typer.echo(f"begins with {begun['study']}, {begun['arm']}/{begun['model']} of step {begun['step']}", err=True)
    with failure_kept(checkpoints, attempt, code):
        stopped = places.at(entry)(settings, job)
    if stopped:
        typer.echo(f"stopped by {stopped}; the same command goes on from {checkpoints / 'last.pt'}", err=True)
        raise typer.Exit(75)
    is_first = os.environ.get("LOCAL_RANK", "0") == "0"  # the first of several processes alone writes the model
    if (
        start is not None
        and is_first
        and "started_from" not in read_object(out / "model.json", "the description of a model")
    ):
        text = "its task says that trainings begin with the weights of --from, and this one began with its own"
        raise VolforgeError(text, entry, LEAVE_OUT)
    typer.echo(f"model in {out}")


@app.command()
def distances(
    scans: Scans,
    recipe: Annotated[str, typer.Option(help="Name of the recipe.")],
    ids: Annotated[str, typer.Option(help="Ids of the structures, as a JSON list.")],
    out: Annotated[Path, typer.Option(help="Folder to write; it appears whole.")],
) -> None:
    r"""Make signed distance maps of all cuts of a recipe.

    Example: volforge model distances --scans results/cohorts/mine/scans.tsv \
      --recipe volume --ids '[1, 2]' --out distances
    """
    from volforge.cli.arguments import as_ids
    from volforge.study.distances import make_distances

    typer.echo(f"distance maps of {make_distances(scans, recipe, as_ids(ids, '--ids'), out)} scans in {out}")


@app.command()
def predict(
    out: Annotated[Path, typer.Option(help="Label map of --image, or folder to write; it appears whole.")],
    image: Annotated[Path | None, typer.Option(help="Any scan, by hand; else --settings and --scans.")] = None,
    weights_of: Annotated[
        list[Path] | None,
        typer.Option("--weights", help="Folder of a model, by hand; several are averaged or joined."),
    ] = None,
    localiser: Annotated[Path | None, typer.Option(help="Folder of the model that finds the joints.")] = None,
    modality: Annotated[str, typer.Option(help="By hand: CT, CBCT or MR.")] = "CT",
    unit: Annotated[
        str, typer.Option(help="By hand: hu, hu+1024 (or another number) or arbitrary; empty: by the modality.")
    ] = "",
    confidence: Annotated[Path | None, typer.Option(help="By hand: file for the label's probability.")] = None,
    overlap: Annotated[
        float | None, typer.Option(help="By hand: share of a window that the next one sees again; else 0.5.")
    ] = None,
    flips: Annotated[str, typer.Option(help="By hand: axes whose flips are averaged, such as x or xy.")] = "",
    window: Annotated[str, typer.Option(help="By hand: voxels seen at a time, X,Y,Z; empty: the patch.")] = "",
    keep: Annotated[
        list[str] | None,
        typer.Option(help="By hand: STRUCTURE=SHARE of the largest component that others need to stay; 0 keeps all."),
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="By hand, translation: CONTRAST=FILE of each further contrast.")
    ] = None,
    body_mask: Annotated[
        Path | None, typer.Option(help="By hand, translation: mask of the body; else it is found.")
    ] = None,
    fuse: Annotated[str, typer.Option(help="By hand, translation: median or mean of several models.")] = "",
    deviation: Annotated[
        Path | None, typer.Option(help="By hand, translation: file for the standard deviation of the image.")
    ] = None,
    dicom: Annotated[
        Path | None, typer.Option(help="By hand, translation: folder for a CT series derived from --image, a series.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    settings: Annotated[Path | None, typer.Option(help="predict.json of an arm.")] = None,
    scans: Annotated[Path | None, typer.Option(help="scans.tsv of the cohort.")] = None,
    fold: Fold = 0,
    seed: Seed = 0,
    model: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER of each model of the arm, and of those that they need.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Folder of the predictions that are taken instead of the scans' own labels.")
    ] = None,
) -> None:
    r"""Predict any scan by the weights of a model, or the test scans of an arm of a study.

    Example: volforge model predict --image ct.nii.gz --weights model --out \
      labels.nii.gz

    Example: volforge model predict --settings \
      results/studies/organs/volforge/predict.json --scans \
      results/cohorts/mine/scans.tsv --model all=model --out predictions
    """
    from volforge.cli.arguments import named_folders

    if image is not None:
        from volforge.by_hand.predict_scan import Options, predict_scan
        from volforge.volume.units import UNITS, is_unit
        from volforge.whole_file import refuse_places

        of_study = {"settings": settings, "scans": scans, "fold": fold, "seed": seed, "model": model, "labels": labels}
        if others := [f"--{name}" for name, value in of_study.items() if value]:
            raise VolforgeError(f"{' and '.join(others)} of a study, and --image by hand", str(image), "choose one")
        if not weights_of:
            raise VolforgeError("no model is named", str(image), "pass --weights FOLDER")
        seen = {"--image": image, "--localiser": localiser, "--body-mask": body_mask}
        refuse_places({"--out": out, "--confidence": confidence, "--deviation": deviation}, seen)
        own = _entry_of(weights_of[0])
        translation = {
            "also": named_folders(also or [], "--also"), "body_mask": body_mask, "fuse": fuse, "deviation": deviation,
            "dicom": dicom,
        }  # fmt: skip
        if own is not None:
            entry = places.at(own)
            given = {"localiser": localiser, "window": window, "flips": flips, "keep": keep, **translation}
            given |= {"device": device} if device != "cpu" else {}
            said: dict[str, Any] = {name: value for name, value in given.items() if value}
            said |= {"overlap": overlap} if overlap is not None else {}
            _refuse_others(said, inspect.signature(entry).parameters, weights_of[0])
            entry(image, weights_of, out, modality, unit, confidence, **said)
            typer.echo(str(out))
            return
        _refuse_others({name: value for name, value in translation.items() if value}, (), weights_of[0])
        unit = unit or ("arbitrary" if modality == "MR" else "hu")
        if not is_unit(unit):
            raise VolforgeError(f"unknown unit '{unit}'", "--unit", f"use one of {', '.join(UNITS)}")
        shares = {n: number_in("--keep", v) for n, v in (w.split("=", 1) for w in keep or [] if "=" in w)}
        if len(shares) != len(keep or []):
            raise VolforgeError("not STRUCTURE=SHARE", "--keep", "write --keep kidney=0.1, once for each structure")
        windows = [int(number_in("--window", n)) for n in window.split(",")] if window else None
        options = Options(
            modality, unit, localiser, windows, 0.5 if overlap is None else overlap, tuple(flips), shares, device
        )
        found = predict_scan(image, weights_of, out, options, confidence)
        for joint in found.joints:
            typer.echo(f"{joint.side} joint: {joint.origin}")
        typer.echo(str(out))
        return
    if settings is None or scans is None:
        raise VolforgeError("what is to be predicted?", "", "pass --image and --weights, or --settings and --scans")
    from volforge.study.jobs import PredictJob
    from volforge.study.settings import ArmSettings

    models = named_folders(model or [], "--model")
    if localiser is not None:
        models["shared/localiser"] = localiser
    loaded = ArmSettings.load(settings)
    if loaded.purpose == "measure":
        raise VolforgeError("these settings are those of measuring", str(settings), "name predict.json beside them")
    job = PredictJob(scans, fold, out, seed, models, labels, device)
    typer.echo(f"{places.at(loaded.entry)(loaded, job)} predictions in {out}")


def _refuse_others(said: Mapping[str, Any], taken: Collection[str], weights: Path) -> None:
    """Refuse options that a model has no use for.

    Raises:
        VolforgeError: Naming them.
    """
    others = [f"--{name.replace('_', '-')}" for name in said if name not in taken]
    if others:
        text = f"{' and '.join(others)} {'are' if len(others) > 1 else 'is'} for other models than this one"
        raise VolforgeError(text, str(weights), "leave it out" if len(others) == 1 else "leave them out")


def _entry_of(weights: Path) -> str | None:
    """Who applies a model by hand, where its task does so itself: its `by_hand` names `predict_<kind of the model>`."""
    from volforge.tasks import registry
    from volforge.volume.folders import read_json

    file = weights / "model.json"
    content = read_json(file) if file.is_file() else None
    task = content.get("task") if isinstance(content, dict) else None
    if not isinstance(content, dict) or task not in registry.TASKS:
        return None
    return registry.task(task).by_hand.get(f"predict_{content.get('kind')}")


def number_in(option: str, text: str) -> float:
    """A number of an option.

    Raises:
        VolforgeError: It is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise VolforgeError(f"'{text}' is not a number", option, "see `volforge model predict --help`")
    return value


@app.command()
def export(
    weights: Annotated[Path, typer.Option(help="Folder of a trained model.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; it appears whole.")],
) -> None:
    """Write a model as a MONAI bundle, for `monai.bundle`, MONAI Label and 3D Slicer.

    Example: volforge model export --weights model --out bundle
    """
    from volforge.inference.bundle import export_bundle

    typer.echo(f"bundle in {export_bundle(weights, out)}")


@app.command("train-encoder")
def train_encoder_(
    settings: Settings,
    scans: Scans,
    out: Annotated[Path, typer.Option(help="Folder of the model: weights.safetensors, model.json.")],
    fold: Fold = 0,
    seed: Seed = 0,
) -> None:
    r"""Train the encoder of a study's Fréchet distance on real training slices.

    Example: volforge model train-encoder --settings \
      results/studies/ct/shared/encoder.json --scans \
      results/cohorts/mine/scans.tsv --out encoder
    """
    from volforge.judging.train_encoder import train_encoder
    from volforge.study.settings import ArmSettings

    digest = train_encoder(ArmSettings.load(settings), scans, fold, seed, out)
    typer.echo(f"slice encoder, SHA-256 {digest}")


@app.command("train-judge")
def train_judge_(
    settings: Settings,
    scans: Scans,
    out: Annotated[Path, typer.Option(help="Folder of the model: weights.safetensors, model.json.")],
    fold: Fold = 0,
    seed: Seed = 0,
) -> None:
    r"""Train the segmenter that reads a study's synthetic images on real training slices.

    Example: volforge model train-judge --settings \
      results/studies/ct/shared/encoder.json --scans \
      results/cohorts/mine/scans.tsv --out judge
    """
    from volforge.judging.judge import train_judge
    from volforge.study.settings import ArmSettings

    digest = train_judge(ArmSettings.load(settings), scans, fold, seed, out)
    typer.echo(f"judging segmenter, SHA-256 {digest}")
