"""What the jobs of a study are told: settings of models, arms, judging networks and tables, each one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from volforge import components
from volforge.config.studies import OURS, SHARED
from volforge.tasks.protocol import ENCODER, SEGMENTER
from volforge.tasks.resolved import ResolvedStudy
from volforge.workflow.code_hash import hash_of_modules

OPTIONS = ("baseline", "threshold_hu", "constant_hu", "closing_mm")
ENCODED_BY = ("window_hu", "encoder_steps")
READ_BY = ("segmenter_steps", "segmenter_mm")


def as_json(content: Mapping[str, Any]) -> str:
    """One line."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def model_settings(study: ResolvedStudy, arm: str, model: str) -> dict[str, Any]:
    """`<model>.train.json`: all that the training of a model reads."""
    used = [(kind, spec) for kind, _, spec in study.task.components(study, arm, model)]
    modules = [components.module_of(kind, spec) for kind, spec in used]  # type: ignore[arg-type]
    files = [components.file_hash(kind, spec) for kind, spec in used]  # type: ignore[arg-type]
    return {
        "study": study.name,
        "arm": arm,
        "model": model,
        "task": study.task.name,
        "entry": study.task.trained_by(study, arm, model),
        "cohort": study.cohort.name,
        "by_fold": bool(study.settings.folds),
        **study.task.model_settings(study, arm, model),
        "own": "-".join(filter(None, [hash_of_modules(m for m in modules if m), *files])),
    }


def model_settings_json(study: ResolvedStudy, arm: str, model: str) -> str:
    """The same as one line of JSON."""
    return as_json(model_settings(study, arm, model))


def measure_settings(study: ResolvedStudy, arm: str, weights: Mapping[str, str]) -> str:
    """`settings.json` of an arm: all that measuring reads."""
    own = weights if ENCODER in study.task.judges(study) else {}
    return _settings(study, arm, "measure", study.task.metrics(study), study.settings.cases, own)


def predict_settings(study: ResolvedStudy, arm: str) -> str:
    """`predict.json` of an arm: what its predictions depend on, and nothing that only measuring reads."""
    return _settings(study, arm, "predict", {}, 0, {})


def judge_settings(study: ResolvedStudy) -> str:
    """What the networks that only measure are trained by; no arm has a part in it."""
    own = (*ENCODED_BY, *(READ_BY if SEGMENTER in study.task.judges(study) else ()))
    return _settings(study, SHARED, "", {k: v for k, v in study.task.metrics(study).items() if k in own}, 0, {})


def inference(study: ResolvedStudy, arm: str) -> dict[str, Any]:
    """How an arm's models are applied; compute threads are those of the training."""
    threads = max(study.training_of(arm, m).threads for m in study.models_of(arm))
    return {**study.settings.arms[arm].inference.model_dump(), "threads": threads}


def _settings(
    study: ResolvedStudy,
    arm: str,
    purpose: str,
    metrics: Mapping[str, Any],
    cases: int,
    weights: Mapping[str, str],
) -> str:
    chosen = study.settings.arms.get(arm)  # the judging networks are of no arm
    # an arm without learning is all that they are told of arms: its keys with their defaults
    options = chosen or type(next(iter(study.settings.arms.values()))).model_construct(baseline=None)
    content = {
        "study": study.name,
        "arm": arm,
        "task": study.task.name,
        "purpose": purpose,
        "entry": _entry(study, arm, purpose),
        "cohort": study.cohort.name,
        "by_fold": bool(study.settings.folds),
        "structures": study.structures(),
        "metrics": dict(metrics),
        "cases": cases,
        "predictions": study.predictions.get(arm, ""),
        "weights": dict(weights),
        **options.model_dump(include=set(OPTIONS)),
        **study.task.settings_of_arm(study, arm),
    }
    if chosen is not None and chosen.models:
        content["inference"] = inference(study, arm)
    return as_json(content)


def _entry(study: ResolvedStudy, arm: str, purpose: str) -> str:
    if purpose == "predict":
        return study.task.predicted_by(study, arm)
    return study.task.measure if purpose else ""


def table_settings(studies: Mapping[str, ResolvedStudy], study: ResolvedStudy) -> str:
    """What the study's table, figures and page read of the configuration.

    Args:
        studies: All of the run by name: arms may take their labels from another study.
        study: One of them.
    """
    task = study.task
    arms = {
        name: {
            "kind": "ceiling" if _role(studies, study, name) == "reference" else task.kind(arm),
            "role": _role(studies, study, name),
            "baseline": arm.baseline or "",
            "published_as": arm.published_as or name,
            "note": "; ".join(n for n in (arm.note, task.note_of(study, name)) if n),
            "budget": _budget(studies, study, name),
        }
        for name, arm in study.settings.arms.items()
    }
    published = study.settings.published
    content = {
        "study": study.name,
        "task": task.name,
        "cohort": study.cohort.name,
        "arms": arms,
        "equal": study.settings.equal,
        "parts": [list(p) for p in study.parts()],
        "published": None if published is None else {**published.model_dump(), "table": study.published},
        "shown": list(task.shown),
        "first": [list(r) for r in task.first],
        "judged_in": list(task.judged_in),
        "picture": task.picture,
        "note": task.note,
        "compares_sides": list(task.compares_sides),
        "must_beat": task.must_beat,
        "learnt_by": [list(r) for r in task.learnt_by],
    }
    return as_json(content)


def _source(studies: Mapping[str, ResolvedStudy], study: ResolvedStudy, arm: str) -> tuple[ResolvedStudy, str] | None:
    """Study and arm whose predictions an arm takes as labels; None where it takes none."""
    found = study.task.labels_from(study.settings.arms[arm])
    return None if found is None else (studies[found[0]], found[1])


def _role(studies: Mapping[str, ResolvedStudy], study: ResolvedStudy, arm: str) -> str:
    """What an arm is beside the others: `ours`, `published`, `baseline`, `reference` (competes with none), or `variant`
    (of ours, named `volforge_...`: the overview compares ours with methods of others)."""
    kind = study.task.kind(study.settings.arms[arm])
    if arm == OURS:
        return "ours"
    if arm.startswith(f"{OURS}_"):
        return "variant"
    source = _source(studies, study, arm)
    if kind == "ceiling" or arm == study.task.reference_arm(study.settings):
        return "reference"
    if source is None and any(_source(studies, study, a) for a in study.settings.arms):
        return "reference"  # it reads the scans' own labels, where others read predictions: not the same data
    return _role(studies, *source) if source else "baseline" if kind == "baseline" else "published"


def _budget(studies: Mapping[str, ResolvedStudy], study: ResolvedStudy, arm: str) -> int:
    """Samples that the trainings behind an arm saw; those of the arm whose labels it takes, where it takes some."""
    source = _source(studies, study, arm)
    return study.task.budget(study, arm) + (_budget(studies, *source) if source else 0)
