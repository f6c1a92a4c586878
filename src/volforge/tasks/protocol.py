"""What a task says of itself. A description is a subclass of `Task`, in a room of its own or in a file of the user.

A description imports the standard library, pydantic, this module, and neighbours that obey the same rule: planning a
run reads the descriptions of all tasks, and must cost nothing. What computes stands in the entries, which are named
by their dotted places and imported by the jobs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from volforge import components
from volforge.config.component import Component, StructureName, StructureNames
from volforge.config.model import Model, Name
from volforge.config.models import PercentileWindow
from volforge.config.studies import SHARED, Arm, ImageStudy, ScanChoice, Study, StudyMetrics
from volforge.config.training import Inference, ModelOptions, Training
from volforge.errors import Problem
from volforge.tasks.resolved import ResolvedCohort, ResolvedStudy

if TYPE_CHECKING:
    from volforge.cohort.sheet import SheetRow

__all__ = [
    "ENCODER",
    "SEGMENTER",
    "SHARED",
    "Arm",
    "Component",
    "ImageStudy",
    "Inference",
    "Keys",
    "Model",
    "ModelOptions",
    "Name",
    "PercentileWindow",
    "Places",
    "Problem",
    "ResolvedCohort",
    "ResolvedStudy",
    "ScanChoice",
    "StructureName",
    "StructureNames",
    "Studies",
    "Study",
    "StudyMetrics",
    "Task",
    "Training",
    "components",
    "fitting",
]  # fmt: skip

Keys = tuple[str | int, ...]
Studies = Mapping[str, ResolvedStudy]
ENCODER = "slice_encoder"
"""The network of the Fréchet distance of a study's slices, trained on its real ones."""
SEGMENTER = "judging_segmenter"
"""The segmenter of a study's real slices that reads synthetic ones."""


class Places(Protocol):
    """A configuration that was read, which knows where each of its values stands."""

    @property
    def places(self) -> Mapping[Keys, Any]:
        """Place of every key path that a file sets."""
        ...

    def problem(self, keys: Keys, message: str, remedy: str, value: object = "") -> Problem:
        """A problem at the nearest known place of a key path."""
        ...


class Task:
    """A kind of study. What is not said keeps the value that stands here.

    Entries are dotted places, `module:function`, or `file.py:function` for a task of one's own:

    Attributes:
        study: Keys of its studies; arms and models may have keys of their own too.
        train: `train(settings: Path, job: TrainJob) -> str`, why it stopped early; empty: no models.
        predict: `predict(settings: ArmSettings, job: PredictJob) -> int`, the number of cases.
        measure: `measure(settings: ArmSettings, job: MeasureJob) -> int`, the number of measures.
        makes: Whether predictions are label maps or images.
        reads: Files of the sheet that a scan needs to be measured.
        baselines: What no learning gives: by name, its predictor
            `predictor(settings, cohort, rows) -> Callable[[Case], tuple[Array, Array | None]]`.
        learns: Files of a training scan that a baseline learns from; those that are not named learn nothing.
        must_beat: Baseline that an arm must beat to be called learnt; empty: nothing is called so.
        learnt_by: Structure and measure of the rows in which it must, by the interval of the paired difference.
        shown: Measures of the figures and of the list of cases, the most telling first.
        first: Rows of the study's short table, at most five: structure (empty: all of `judged_in`) and measure; the
            first of them that was measured heads the page.
        judged_in: Structures that the list of cases looks at; empty: all.
        picture: What the picture of a case shows, from left to right.
        note: A sentence below the list of cases; empty: none.
        compares_sides: Measures by which a cohort's left sides are compared with its right ones.
        trains_with_needs: Whether the models that a model `needs` are read in its training, not in predictions alone.
        is_fitted: Whether its models are fitted at once, not trained in steps.
        begins_with_weights: Whether its trainings begin with the weights of `job.start`; else `volforge model train
            --from` is refused before they run.
        memory: Memory of its jobs, as a multiple of what importing the largest scan asks for.
        by_hand: What commands beside studies call: places by name. `predict_<kind>` is what `volforge model predict
            --image` calls for a model of this kind: `(image, weights, out, modality, unit, confidence)`, and keywords
            for the options that it takes (`flips`, `device`, `also`, `dicom` ...); others are refused. `start`: the
            first study of a new project, see `volforge.tasks.starting`. `published` is what `volforge weights
            published` calls: `(file, part, out, say=)`.
        published: Parts of the published original whose weights `by_hand["published"]` reads: by name, what they are.
    """

    name: str = ""
    study: ClassVar[type[Study]] = Study
    train: ClassVar[str] = ""
    predict: ClassVar[str] = ""
    measure: ClassVar[str] = ""
    makes: ClassVar[Literal["labels", "image"]] = "labels"
    reads: ClassVar[tuple[str, ...]] = ("labels",)
    baselines: ClassVar[Mapping[str, str]] = {}
    learns: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    must_beat: ClassVar[str] = ""
    learnt_by: ClassVar[tuple[tuple[str, str], ...]] = ()
    shown: ClassVar[tuple[str, ...]] = ()
    first: ClassVar[tuple[tuple[str, str], ...]] = ()
    judged_in: ClassVar[tuple[str, ...]] = ()
    picture: ClassVar[str] = "input, prediction, reference, error"
    note: ClassVar[str] = ""
    compares_sides: ClassVar[tuple[str, ...]] = ()
    trains_with_needs: ClassVar[bool] = True
    is_fitted: ClassVar[bool] = False
    begins_with_weights: ClassVar[bool] = False
    memory: ClassVar[float] = 1.0
    by_hand: ClassVar[Mapping[str, str]] = {}
    published: ClassVar[Mapping[str, str]] = {}

    # --- what is measured, and on what

    def structures(self, study: ResolvedStudy) -> list[dict[str, Any]]:
        """What is measured: structure (or group), side, and id in label maps."""
        return study.named(study.settings.structures)

    def needed(self, study: ResolvedStudy) -> str:
        """What a scan needs to be measured, in words."""
        return " and ".join(self.reads)

    def measurable(self, study: ResolvedStudy, rows: Sequence[SheetRow], has: Callable[[SheetRow, str], bool]) -> bool:
        """Whether some scan of the sheet can be measured; `has` tells whether a row has a file, or will have it."""
        return any(all(has(r, c) for c in self.reads) for r in rows)

    def is_named_elsewhere(self, study: ResolvedStudy, rows: Sequence[SheetRow]) -> bool:
        """Whether `problems` says already why nothing of a whole cohort can be measured."""
        return not study.cohort.structures

    def learners(self, study: ResolvedStudy) -> Iterator[tuple[tuple[str, ...], ScanChoice | None, str]]:
        """What learns from training scans: the files that those need, their choice (None: any), and who learns."""
        wanted: dict[tuple[str, ...], list[str]] = {}
        if study.settings.shared:
            wanted[("image", "labels")] = ["what all arms share"]
        for name, arm in study.settings.arms.items():
            if arm.models:
                wanted.setdefault(("image", "labels"), []).append(f"`{name}`")
            elif arm.baseline is not None and arm.baseline in self.learns:
                wanted.setdefault(self.learns[arm.baseline], []).append(f"`{name}`")
        for files, who in wanted.items():
            yield files, None, " and ".join(who[:3])

    def problems(self, loaded: Places, study: ResolvedStudy) -> Iterator[Problem]:
        """What is wrong with a study of the task, beside what is checked of all."""
        if "labels" in self.reads and not study.cohort.structures:
            yield loaded.problem(
                ("studies", study.name, "cohort"),
                f"the task needs labels, and cohort '{study.cohort.name}' has no table of structures",
                "write <sheet>.structures.tsv with the columns structure and id",
                study.cohort.name,
            )

    def problems_of_model(self, loaded: Places, study: ResolvedStudy, arm: str, model: str) -> Iterator[Problem]:
        """What is wrong with a model of an arm (or of `shared`), beside its networks, losses and `needs`."""
        yield from ()

    def problems_of_sources(
        self, loaded: Places, study: ResolvedStudy, arm: str, place: Keys, other: ResolvedStudy, source: str
    ) -> Iterator[Problem]:
        """What is wrong with the arm of another study whose predictions an arm takes; cohort, folds and seeds fit."""
        yield from ()

    # --- models

    def components(self, study: ResolvedStudy, arm: str, model: str) -> list[tuple[str, Keys, dict[str, Any]]]:
        """Networks and losses of a model: `network` or `loss`, its key below the model, and name with keywords."""
        options = study.models_of(arm)[model]
        both = (("network", options.network), ("loss", options.loss))
        return [(kind, (kind,), c.spec) for kind, c in both if c is not None]

    def model_settings(self, study: ResolvedStudy, arm: str, model: str) -> dict[str, Any]:
        """All that the training of a model reads: the content of `<model>.train.json`, without its names and hashes."""
        options = study.models_of(arm)[model]
        return {
            "structures": study.learnable(),
            "recipe": options.recipe,
            "recipe_settings": study.recipes.get(options.recipe or ""),
            "network": options.network.spec if options.network else None,
            "loss": options.loss.spec if options.loss else None,
            "training": study.training_of(arm, model).model_dump(),
        }

    def fits(self, study: ResolvedStudy, arm: str, model: str) -> bool:
        """Whether a model is fitted at once: no steps, no GPU."""
        return self.is_fitted

    def trained_by(self, study: ResolvedStudy, arm: str, model: str) -> str:
        """Entry that trains a model, where not all have the same one."""
        return self.train

    def predicted_by(self, study: ResolvedStudy, arm: str) -> str:
        """Entry that predicts by an arm, where not all have the same one."""
        return self.predict

    def needs_distances(self, study: ResolvedStudy, arm: str, model: str) -> bool:
        """Whether the training of a model reads signed distance maps on the grids of its recipe."""
        return False

    def may_need(self, study: ResolvedStudy, arm: str, model: str, needed: ModelOptions) -> str:
        """Why a model may not need another one that its `needs` names; empty where it may."""
        return ""

    def budget(self, study: ResolvedStudy, arm: str) -> int:
        """Samples that the trainings of an arm see by plan, over all its models; 0 where nothing is trained in steps.

        Arms of one study that had fewer than another are marked in its tables, and never ranked.
        """
        each = (study.training_of(arm, m) for m in study.models_of(arm) if not self.fits(study, arm, m))
        return sum(t.steps * t.batch * t.devices for t in each)

    # --- predictions and measures

    def is_drawn(self, arm: Arm) -> bool:
        """Whether another seed gives another result."""
        return bool(arm.models)

    def kind(self, arm: Arm) -> str:
        """What an arm is, for the table: `model`, `baseline`, `predictions`, `shapes`, or `ceiling` (never ranked)."""
        return "baseline" if arm.baseline else "model" if arm.models else "predictions"

    def note_of(self, study: ResolvedStudy, arm: str) -> str:
        """What its table must say of an arm beside the user's own note: what it saw that others did not."""
        return ""

    def settings_of_arm(self, study: ResolvedStudy, arm: str) -> dict[str, Any]:
        """Settings of an arm beside those of all tasks; `predict` and `measure` find them in `ArmSettings.own`."""
        return {}

    def metrics(self, study: ResolvedStudy) -> dict[str, Any]:
        """Which numbers, as settings of the measuring."""
        return study.settings.metrics.model_dump()

    def labels_from(self, arm: Arm) -> tuple[str, str] | None:
        """Study and arm whose predictions an arm takes; None where it takes none."""
        return None

    def key_of_labels_from(self, arm: str) -> Keys:
        """Where that stands, below the study."""
        return ("arms", arm)

    def reference_arm(self, study: Study) -> str | None:
        """The arm that the others' predictions are measured against; None: the scans' own files."""
        return None

    def judges(self, study: ResolvedStudy) -> tuple[str, ...]:
        """Networks that only measure: some of `slice_encoder` and `judging_segmenter`."""
        return ()

    def gpus(self, study: ResolvedStudy, arm: str) -> int:
        """GPUs that predicting an arm asks for: one where its models were trained on one."""
        trained = (m for m in study.models_of(arm) if not self.fits(study, arm, m))
        return int(any(study.training_of(arm, m).accelerator == "gpu" for m in trained))


def fitting(rows: Sequence[SheetRow], choice: ScanChoice) -> list[SheetRow]:
    """Rows of a modality and contrast."""
    return [
        r for r in rows if r.modality == choice.modality and (choice.contrast is None or r.contrast == choice.contrast)
    ]
