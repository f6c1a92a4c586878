"""The training of one model of implants: scans in; weights, their description and history out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from volforge.errors import VolforgeError
from volforge.study.cases import Cohort, free_rows
from volforge.study.inner_split import inner_split
from volforge.study.jobs import TrainJob
from volforge.tasks.implant.settings import ImplantSettings
from volforge.training.attempt import note_attempt
from volforge.training.trained_files import multiply_adds, versions, write_trained
from volforge.volume.folders import whole_folder, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from volforge.tasks.implant.apply import Trained as Model
    from volforge.tasks.implant.held import Draw, Held
    from volforge.tasks.implant.kriging.fit import KrigedModel
    from volforge.tasks.implant.training import ImplantTask
    from volforge.training.loop import Trained
    from volforge.training.task import Plan


def train(path: Path, job: TrainJob) -> str:
    """Train a model, or go on with it.

    Args:
        path: `<model>.train.json`.
        job: Scans, fold, seed, checkpoints, resources, the models that it needs, and the folder of the model.

    Returns:
        Why the training ended before its last step, empty where it is finished.

    Raises:
        VolforgeError: Nothing to learn from; settings that do not fit; a checkpoint of other settings.
    """
    return train_model(ImplantSettings.load(path), job)


def train_model(settings: ImplantSettings, job: TrainJob, draw: Draw | None = None) -> str:
    """The same of settings that were read; `draw` makes defects, None: those of `tasks.implant.defects`."""
    note_attempt(job.checkpoints, job.attempt, job.code)
    from volforge.training import loop
    from volforge.training.stop import Stop

    stop = Stop(job.minutes)
    task, subjects = task_of(settings, job, draw)
    plan = plan_of(settings, job)
    done = loop.train(task, plan, job.seed, job.checkpoints, stop, job.resume, job.start)
    if done.stopped:
        return f"{done.stopped}, at step {done.steps} of {plan.steps}"
    if done.is_first_rank:
        write_model(settings, task, plan, done, subjects, job.out)
    return ""


def task_of(
    settings: ImplantSettings, job: TrainJob, draw: Draw | None = None
) -> tuple[ImplantTask, dict[str, list[str]]]:
    """What is trained, and the subjects that are learnt from and that choose the weights.

    Raises:
        VolforgeError: No training scan can be used, or network, loss and grid do not fit.
    """
    from volforge import components
    from volforge.tasks.implant.apply import answer_of
    from volforge.tasks.implant.held import Skulls, fingerprint, held_skull, usable
    from volforge.tasks.implant.judge import Judge
    from volforge.tasks.implant.progress import Progress
    from volforge.tasks.implant.training import ImplantTask

    cohort = Cohort(job.scans)
    free = free_rows(cohort.rows, settings.by_fold, job.fold)
    rows = usable(cohort, free, settings.implant["defects"])
    learnt, chosen = inner_split(rows, settings.by_fold, settings.training["validation"])
    device = "cuda" if settings.training["accelerator"] == "gpu" else "cpu"
    coarse, kriged = needed_of(settings, job.needs, device)
    held = {r["scan"]: held_skull(settings, cohort, r) for r in rows if r["subject"] in learnt | chosen}
    parts = [[h for h in held.values() if h.subject in some] for some in (learnt, chosen)]
    drawn = draw or drawn_on_line()
    defects = str(settings.implant["defects"])
    training = Skulls(parts[0], defects, job.seed, drawn, settings.place)
    loss = components.build("loss", settings.loss)
    boxes = boxes_of(settings, cohort, held, coarse, device) if settings.sees == "box" else {}
    seen = samples_of(settings, training, loss, coarse, boxes, kriged)
    # the coarse model comes to lie where the step runs; its answers are those of 32 bit or of its own precision
    answer = answer_of(coarse.network, coarse.settings) if coarse is not None and "coarse" in settings.wants else None
    judge = None
    if parts[1]:
        validation = Skulls(parts[1], defects, job.seed, drawn, settings.place)
        judge = Judge(settings, validation, samples_of(settings, validation, loss, coarse, boxes, kriged), answer)
    subjects = {n: sorted({h.subject for h in p}) for n, p in zip(("training", "validation"), parts, strict=True)}
    plain = {
        **asdict(settings), "fold": job.fold, "seed": job.seed, "subjects": subjects, "code": job.code,
        "data": fingerprint(cohort, list(held.values())),
    }  # fmt: skip
    needed = job.needed()
    plain |= {"needs_sha256": needed} if needed else {}
    progress = Progress(job.checkpoints) if settings.implant["progress"] else None
    made = ImplantTask(settings, seen, plain, judge, answer, progress)
    made.check()
    return made, subjects


def needed_of(
    settings: ImplantSettings, needs: Mapping[str, Path], device: str
) -> tuple[Model | None, KrigedModel | None]:
    """The coarse model and the fitted one that a model needs; None where it needs none."""
    from volforge.tasks.implant.apply import load_model
    from volforge.tasks.implant.kriging.model import KIND, load_kriged
    from volforge.volume.folders import read_object

    coarse, kriged = None, None
    for name in settings.needs:
        if name not in needs:
            raise VolforgeError(f"the model {name} is not there", settings.place, "pass --needs NAME=FOLDER")
        about = read_object(needs[name] / "model.json", "the description of a model")
        if about.get("kind") == KIND:
            kriged, _ = load_kriged(needs[name])
        else:
            coarse = load_model(needs[name], device)
    return coarse, kriged


def samples_of(
    settings: ImplantSettings,
    skulls: Any,
    loss: Any,
    coarse: Model | None,
    boxes: Any,
    kriged: KrigedModel | None = None,
) -> Any:
    """What a model is shown of skulls, by its way of seeing."""
    from volforge.tasks.implant import samples

    if settings.sees == "box":
        return samples.BoxSamples(settings, skulls, loss, boxes)
    if settings.sees == "windows":
        return samples.WindowSamples(settings, skulls, loss, coarse.settings if coarse is not None else None, kriged)
    kind = samples.PatchSamples if settings.sees == "patches" else samples.CapSamples
    return kind(settings, skulls, loss)


def boxes_of(
    settings: ImplantSettings, cohort: Cohort, held: Mapping[str, Held], coarse: Model | None, device: str
) -> dict[str, Any]:
    """The boxes about the coarse implants of the sheet's defects, on the grids that skulls are held in."""
    from volforge.tasks.implant.apply import predicted
    from volforge.tasks.implant.grids import box_frame

    assert coarse is not None
    found = {}
    for scan, skull in held.items():
        defective = cohort.read(scan, "defective") > 0
        near = skull.frame.average(predicted(coarse, defective, skull.scan_grid, device=device, where=scan))
        bone = skull.frame.average(defective) >= 0.5
        found[scan] = box_frame((near > 0.5) & ~bone, settings.patch, int(settings.implant["margin_voxels"]))
    return found


def drawn_on_line() -> Draw:
    """Draws the defects of `tasks.implant.defects`; the vault of a skull is found once."""
    from volforge.tasks.implant.defects.on_line import on_line
    from volforge.tasks.implant.defects.vault import Vault, vault_of
    from volforge.volume.geometry import Array, Grid

    vaults: dict[str, Vault] = {}

    def draw(scan: str, skull: Array, grid: Grid, seed: int, index: int) -> Array:
        if scan not in vaults:
            vaults[scan] = vault_of(skull, grid.affine)
        return on_line(skull, grid.spacing_mm, grid.affine, seed, index, vaults[scan]).mask

    return draw


def plan_of(settings: ImplantSettings, job: TrainJob) -> Plan:
    """The loop's plan."""
    from volforge.training.task import Plan

    return Plan.of(settings.training, "network", job.workers, job.checkpoint_seconds)


def write_model(
    settings: ImplantSettings,
    task: ImplantTask,
    plan: Plan,
    done: Trained,
    subjects: Mapping[str, list[str]],
    out: Path,
) -> None:
    """Write the folder of a trained model."""
    import torch

    with torch.device("meta"):
        networks = task.networks()
        parameters = {n: sum(p.numel() for p in m.parameters()) for n, m in networks.items()}
        image = torch.zeros((1, settings.channels, *settings.patch))
        products = multiply_adds(networks["network"].eval(), image)
    with whole_folder(out) as folder:
        digest = write_trained(folder, done.weights["network"], done, plan)
        content = {
            **asdict(settings),
            "patch": list(settings.patch),
            "parameters": parameters["network"],
            "parameters_of": parameters,
            "multiply_adds": products,
            "step": done.step,
            "steps": done.steps,
            "expected": {k: float(f"{v:.10g}") for k, v in done.score.items()},
            "subjects": dict(subjects),
            **done.began,
            "sha256": digest,
            "versions": versions(),
        }
        if task.progress is not None:
            task.progress.leave(folder, settings.model, [int(row["step"]) for row in done.history])
        write_json(folder / "model.json", content)
