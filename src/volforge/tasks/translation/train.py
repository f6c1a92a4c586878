"""The training of a model of translation: scans in; weights, their description and history out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from volforge.config.models import SliceRecipe
from volforge.errors import VolforgeError
from volforge.study.cases import Cohort, Row
from volforge.study.jobs import TrainJob
from volforge.tasks.translation.domains import Domains, domains
from volforge.tasks.translation.needed import LAST, in_words, record, refuse_leak
from volforge.tasks.translation.pairs import Pair, companions_of
from volforge.tasks.translation.settings import EXTRACTOR, TranslationSettings
from volforge.training.attempt import note_attempt
from volforge.training.trained_files import multiply_adds, versions, write_trained
from volforge.volume.folders import read_json, whole_folder, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from volforge.tasks.translation.slices import SliceSet
    from volforge.training.loop import Trained
    from volforge.training.slice_augment import SliceAugmentation
    from volforge.training.task import Plan, Task

SELECTION = {
    "structure": "selected by inner structure with {n} pairs",
    "pairs": "selected by the error on {n} pairs",
    "painted": "selected by painted MR",
    "latest": LAST,
}


def train(path: Path, job: TrainJob) -> str:
    """Train a model of translation, or go on with it.

    Args:
        path: `<model>.train.json`.
        job: Scans, fold, seed, checkpoints, resources, needed models, and the folder of the model (weights.safetensors
            holds the generator's mean weights).

    Returns:
        Why the training ended before its last step, empty where it is finished.

    Raises:
        VolforgeError: Nothing to learn from; settings that do not fit; a checkpoint of other settings.
    """
    return train_translation(TranslationSettings.load(path), job)


def train_translation(settings: TranslationSettings, job: TrainJob) -> str:
    """The same of settings that were read."""
    note_attempt(job.checkpoints, job.attempt, job.code)
    from volforge.training import loop
    from volforge.training.stop import Stop

    stop = Stop(job.minutes)
    made = Lesson(settings, job)
    plan = plan_of(settings, job)
    done = loop.train(made.task, plan, job.seed, job.checkpoints, stop, job.resume, job.start)
    if done.stopped:
        return f"{done.stopped}, at step {done.steps} of {plan.steps}"
    if done.is_first_rank:
        write_model(settings, made, plan, done, job.out)
    return ""


class Lesson:
    """What is trained on, and the task of the loop.

    Attributes:
        task: For the loop.
        subjects: By part.
        judged: Pairs that chose the weights.
        needed: What is noted of the models that it needs, by the words of its settings.
        imported: How scans were imported: what a new one must be put through too.
        size: Rows and columns of a slice.

    Raises:
        VolforgeError: A part has no slices; contrasts are missing; needed models do not fit.
    """

    def __init__(self, settings: TranslationSettings, job: TrainJob):
        self.settings, self.job = settings, job
        self.cohort = Cohort(job.scans)
        self.folder = job.scans.parent / "recipes" / settings.recipe
        self.recipe = SliceRecipe(**settings.recipe_settings)
        self.used: list[SliceSet] = []
        self.rows = [r for r in self.cohort.rows if self.cohort.has(r["scan"], "image")]  # a row may hold labels
        parts = domains(settings, self.rows, job.fold, job.seed, self._has_slices)
        self.parts, self.subjects = parts, dict(parts.subjects)
        self.judged = 0
        self.needed: dict[str, dict[str, Any]] = {}
        content = read_json(job.scans.parent / "settings.json")
        self.imported = {"background": content.get("background", "air"), "body_mask": content.get("body_mask", {})}
        self.task = self._outline() if settings.kind == EXTRACTOR else self._translation(parts)
        self.size = self.used[0].size
        self._check_size()

    def _has_slices(self, row: Row) -> bool:
        from volforge.tasks.translation.slices import was_cut

        return was_cut(self.folder / row["scan"])

    def _check_size(self) -> None:
        """Whether networks and slices fit together; asked before anything is computed.

        Raises:
            VolforgeError: They do not.
        """
        import torch

        with torch.device("meta"):
            for name, network in self.task.networks().items():
                divisor, least = int(getattr(network, "divisor", 1)), int(getattr(network, "smallest", 1))
                if any(n % divisor or n < least for n in self.size):
                    text = f"the {name.replace('_', ' ')} wants sides that are multiples of {divisor}, {least} or more"
                    shown = f"slices are {self.size[0]} x {self.size[1]}"
                    raise VolforgeError(f"{text}; {shown}", self.settings.place, "change the recipe's `size`")

    def _outline(self) -> Task:
        from volforge.tasks.translation.outline import OutlineTask

        targets = self._slices(self.parts.targets)
        judged = self._slices(self.parts.judged_targets) if self.parts.judged_targets else None
        return OutlineTask(self.settings, self.job.seed, targets, self._augmentation(), self._plain(), judged)

    def _translation(self, parts: Domains) -> Task:
        settings, seed = self.settings, self.job.seed
        context = settings.context
        start = self._start()
        if settings.method in ("painted", "paired"):
            from volforge.tasks.translation.regression import RegressionTask

            labels = bool(settings.translation["painting"]["from_labels"])
            targets = self._slices(parts.targets, context, labels=labels) if settings.method == "painted" else None
            pairs = self._pairs(parts.pairs) if parts.pairs else None
            real = self._sources(parts.sources) if settings.translation["consistency"] else None
            judge = self._judge(parts)
            made = (targets, pairs, real, self._augmentation(), self._plain(), start, judge)
            return RegressionTask(settings, seed, *made)
        from volforge.tasks.translation.unpaired import UnpairedTask

        sources, targets = self._sources(parts.sources), self._slices(parts.targets)
        judge, extractor = self._judge(parts), self._extractor()
        return UnpairedTask(
            settings, seed, sources, targets, self._augmentation(), self._plain(), extractor, start, judge
        )

    def _slices(self, rows: Sequence[Row], context: int = 0, *, labels: bool = False) -> SliceSet:
        """Slices of targets."""
        from volforge.tasks.translation.slices import SliceSet

        self.used.append(SliceSet(self.folder, rows, context=context, labels=labels))
        return self.used[-1]

    def _sources(self, rows: Sequence[Row], partners: Mapping[str, Row] | None = None) -> SliceSet:
        """Slices of sources with their neighbours and further contrasts, and with their partners."""
        from volforge.tasks.translation.slices import Beside, SliceSet, accepted_store, put_beside

        usable = [r for r in rows if accepted_store(self.folder / r["scan"]) is not None]

        def beside(scan: str, other: Row) -> Beside:
            return put_beside(self.cohort, self.recipe, self.folder, scan, other)

        also = self.settings.also
        more = {r["scan"]: [beside(r["scan"], o) for o in self._companions(r, also)] for r in usable if also}
        others = None if partners is None else {r["scan"]: beside(r["scan"], partners[r["scan"]]) for r in usable}
        self.used.append(SliceSet(self.folder, usable, context=self.settings.context, beside=more, partners=others))
        return self.used[-1]

    def _companions(self, row: Row, also: Sequence[str]) -> list[Row]:
        """Scans of all further contrasts of a source.

        Raises:
            VolforgeError: One is missing, or there are two.
        """
        found = companions_of(row, self.rows, also, self.settings.place)
        for contrast in also:
            if contrast not in found:
                raise VolforgeError(
                    f"scan {row['scan']} has no scan of contrast '{contrast}' in its frame",
                    self.settings.place,
                    "give all contrasts of one sitting the same `subject` and `frame`, or leave it out of `also`",
                )
        return list(found.values())

    def _pairs(self, pairs: Sequence[Pair]) -> SliceSet:
        return self._sources([a for a, _ in pairs], {a["scan"]: b for a, b in pairs})

    def _judge(self, parts: Domains) -> Any:
        """What chooses the weights; it reads pairs of validation subjects only where it is told to."""
        from volforge.tasks.translation.judge import PaintedJudge, PairJudge

        by = self.settings.translation["select"]
        if by == "painted":
            if not parts.judged_targets:
                raise VolforgeError(
                    "no validation subject has a target scan",
                    self.settings.place,
                    "set `training: validation` above 0 and give CTs the split `val`, or `select: latest`",
                )
            return PaintedJudge(self.settings, self._slices(parts.judged_targets, self.settings.context), self.job.seed)
        if by in ("structure", "pairs"):
            if not parts.judged:
                raise VolforgeError(
                    "no validation subject has a pair of source and target",
                    self.settings.place,
                    "set `training: validation` above 0 and give scans of one subject and `frame` the split `val`, or "
                    "select by `painted` or `latest`",
                )
            self.judged = len({a["subject"] for a, _ in parts.judged})
            return PairJudge(self.settings, self._pairs(parts.judged), by)
        return None

    def _start(self) -> dict[str, Tensor] | None:
        """The generator that the training starts from."""
        from volforge.tasks.translation.generator import read_weights

        word = self.settings.translation["start"]
        if self.job.start is not None:  # the loop reads them
            if word:
                text = f"the model begins with the weights of '{word}' already"
                raise VolforgeError(text, self.settings.place, "leave out --from, or `start` of its settings")
            about = read_json(self.job.start / "model.json")
            if about.get("subjects"):
                few = self.settings.translation["targets"] is not None
                refuse_leak("--from", about, self.subjects, self.settings.place, few_targets=few)
        if not word:
            return None
        about, weights = read_weights(self.job.needs[word])
        for key, own in (("network", dict(self.settings.network)), ("channels", self.settings.channels)):
            if about[key] != own:
                text = f"its {key} is {about[key]}, that of the model {own}"
                raise VolforgeError(f"a training cannot start from '{word}': {text}", self.settings.place)
        self._needs(word, about)
        return weights

    def _needs(self, word: str, about: Mapping[str, Any]) -> None:
        """Refuse a needed model that saw what this training is not to see, and note what it saw."""
        few = self.settings.translation["targets"] is not None
        refuse_leak(word, about, self.subjects, self.settings.place, few_targets=few)
        self.needed[word] = record(self.job.needs[word], about)

    def _extractor(self) -> nn.Module | None:
        """The frozen shape extractor, where a loss asks for it."""
        from volforge.tasks.translation.generator import make_generator, read_weights

        own = self.settings.translation
        if not (own["shape"] or own["shape_adversarial"]):
            return None
        for word, folder in self.job.needs.items():
            about, weights = read_weights(folder)
            if about["kind"] == EXTRACTOR:
                self._needs(word, about)
                names = {f.name for f in fields(TranslationSettings)}
                settings = TranslationSettings.of({k: v for k, v in about.items() if k in names})
                if settings.window != self.settings.window:
                    text = f"the shape extractor sees HU from {settings.window}, the model {self.settings.window}"
                    raise VolforgeError(text, self.settings.place, "give both recipes the same `ct_window`")
                for key in ("axis", "spacing_mm"):
                    seen, own_value = settings.recipe_settings[key], self.settings.recipe_settings[key]
                    if seen != own_value:
                        text = f"the shape extractor saw slices of {key} {seen}, the model sees {own_value}"
                        raise VolforgeError(text, self.settings.place, "train it on the recipe of the model")
                network = make_generator(settings)
                network.load_state_dict(weights)
                return network.eval().requires_grad_(False)
        raise VolforgeError("a loss of shape needs the shape extractor", self.settings.place, "name it in `needs`")

    def _augmentation(self) -> SliceAugmentation:
        from volforge.training.slice_augment import SliceAugmentation

        options = self.settings.training
        moves = options["augmentation"] != "none"
        made = SliceAugmentation(flip="x" in options["flip"])
        return made if moves else SliceAugmentation(flip=made.flip, turn=0.0, scale=0.0, shift=0.0)

    def _plain(self) -> dict[str, Any]:
        """What a checkpoint must agree with; the slices that were read so far are in it."""
        job = self.job
        plain = {
            **asdict(self.settings), "fold": job.fold, "seed": job.seed, "subjects": self.subjects, "code": job.code,
            "data": [s.fingerprint() for s in self.used],
        }  # fmt: skip
        needed = job.needed()
        return plain | ({"needs_of": needed} if needed else {})

    @property
    def selection(self) -> str:
        """How the weights were chosen, in words."""
        which, by = self.settings.training["which"], str(self.settings.translation["select"])
        if isinstance(which, int):
            words = f"the weights of step {which}"
        elif self.settings.kind == EXTRACTOR:
            chosen = which == "best" and bool(self.parts.judged_targets)
            words = "selected by the Dice of bodies" if chosen else LAST
        elif by == "structure" and not self.parts.pairs:
            words = f"unpaired, selected with {self.judged} pairs"
        else:
            words = SELECTION[by].format(n=self.judged)
        return in_words(words, self.needed)


def plan_of(settings: TranslationSettings, job: TrainJob) -> Plan:
    """The loop's plan."""
    from volforge.training.task import Plan

    return Plan.of(settings.training, "generator", job.workers, job.checkpoint_seconds)


def write_model(settings: TranslationSettings, made: Lesson, plan: Plan, done: Trained, out: Path) -> None:
    """Write the folder of a trained model."""
    import torch

    from volforge.tasks.translation.generator import make_generator

    channels = 1 if settings.kind == EXTRACTOR else settings.channels
    with torch.device("meta"):
        networks = {n: sum(p.numel() for p in m.parameters()) for n, m in made.task.networks().items()}
        operations = multiply_adds(make_generator(settings).eval(), torch.zeros(1, channels, *made.size))
    with whole_folder(out) as folder:
        digest = write_trained(folder, done.weights["generator"], done, plan)
        content: dict[str, Any] = {
            **asdict(settings),
            "channels": channels,
            "size": list(made.size),
            "parameters": networks["generator"],
            "parameters_of": networks,
            "multiply_adds": operations,
            "selection": made.selection,
            "import": made.imported,
            "step": done.step,
            "steps": done.steps,
            "expected": {k: float(f"{v:.10g}") for k, v in done.score.items()},
            "subjects": made.subjects,
            **({"needed": made.needed} if made.needed else {}),
            **done.began,
            "sha256": digest,
            "versions": versions(),
        }
        write_json(folder / "model.json", content)
