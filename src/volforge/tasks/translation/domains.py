"""Which scans a model of translation learns from: two domains without a subject in common, or pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from volforge.cohort.splits import rank
from volforge.errors import VolforgeError
from volforge.study.cases import Row, free_rows, of_modality
from volforge.study.inner_split import inner_split
from volforge.tasks.translation.pairs import Pair, paired_rows
from volforge.tasks.translation.settings import EXTRACTOR, TranslationSettings


@dataclass(frozen=True)
class Domains:
    """Scans that a model learns from.

    Attributes:
        sources: Scans of the source's domain, of subjects that give no target.
        targets: Scans of the target's domain.
        pairs: Source and target of one subject and frame, shown together; empty where nothing asks for them.
        judged: Such pairs of validation subjects.
        judged_targets: Target scans of validation subjects.
    """

    sources: list[Row]
    targets: list[Row]
    pairs: list[Pair]
    judged: list[Pair]
    judged_targets: list[Row]

    @property
    def subjects(self) -> dict[str, list[str]]:
        """Subjects by part."""
        parts = {
            "source": self.sources,
            "target": self.targets,
            "pairs": [a for a, _ in self.pairs],
            "validation": [*(a for a, _ in self.judged), *self.judged_targets],
        }
        return {name: sorted({r["subject"] for r in rows}) for name, rows in parts.items()}


def domains(
    settings: TranslationSettings,
    rows: Sequence[Row],
    fold: int,
    seed: int = 0,
    has_slices: Callable[[Row], bool] = lambda row: True,
) -> Domains:
    """Deal the scans that are not tested to source, target, pairs and validation.

    Without pairs no subject gives both a source and a target: subjects that could give both are ranked by a hash and
    dealt in turn. With `pairs: n`, the first n subjects of another hash that have a pair are shown as pairs, and give
    nothing else. With `targets: n`, the first n subjects of a hash of the seed give targets: fewer ones are among more.

    Args:
        settings: The model.
        rows: Accepted scans of the cohort that have an image.
        fold: Fold that is tested (0 for the split `test`).
        seed: Of the training; it chooses who gives targets, where `targets` asks for some.
        has_slices: Whether the recipe could cut a scan. One that it refused is nobody's, and no number counts it.

    Raises:
        VolforgeError: Fewer subjects have pairs or targets than are asked for, or a part that is needed is empty.
    """
    free = free_rows(rows, settings.by_fold, fold)
    chooses = settings.kind == EXTRACTOR or settings.translation["select"] != "latest"
    share = float(settings.training["validation"]) if chooses else 0.0  # else nobody is held back for nothing
    subjects, chosen = inner_split(free, settings.by_fold, share)
    learnt = [r for r in free if r["subject"] in subjects]
    judged = [r for r in free if r["subject"] in chosen]
    pairs, judged_pairs = (
        [(a, b) for a, b in paired_rows(part, settings.source, settings.target, settings.place) if has_slices(a)]
        for part in (learnt, judged)
    )
    judged_targets = [r for r in of_modality(judged, settings.target) if has_slices(r)]
    wanted = int(settings.translation["pairs"])
    if settings.method == "paired":
        found = Domains([], [], pairs, judged_pairs, judged_targets)
    else:
        shown: list[Pair] = []
        if wanted:
            able = rank({a["subject"] for a, _ in pairs}, 0, "pairs")
            if len(able) < wanted:
                text = f"{wanted} subjects with pairs are asked for, {len(able)} have one"
                raise VolforgeError(text, settings.place, "lower `pairs`, or give more scans of one subject a `frame`")
            taken = set(able[:wanted])
            shown = [(a, b) for a, b in pairs if a["subject"] in taken]
            learnt = [r for r in learnt if r["subject"] not in taken]
        sources, targets = (
            [r for r in of_modality(learnt, kind) if has_slices(r)] for kind in (settings.source, settings.target)
        )
        # dealt before anything is held back, so that all models of a study deal alike: one may start from another
        able_sources, able_targets = of_modality(free, settings.source), of_modality(free, settings.target)
        both = rank({r["subject"] for r in able_sources} & {r["subject"] for r in able_targets}, 0, "domains")
        for_sources, for_targets = set(both[0::2]), set(both[1::2])
        found = Domains(
            [r for r in sources if r["subject"] not in for_targets],
            some_targets(settings, [r for r in targets if r["subject"] not in for_sources], seed),
            shown,
            judged_pairs,
            judged_targets,
        )
        refuse_pairs(found, settings.place)
    for name in parts_of(settings):
        if not getattr(found, name):
            raise VolforgeError(
                f"no scan for the {name} that the method {settings.method} learns from",
                settings.place,
                "look at source, target, and the sheet's columns modality, contrast, frame, split and fold",
            )
    return found


def some_targets(settings: TranslationSettings, targets: list[Row], seed: int) -> list[Row]:
    """The targets of as many subjects as the model learns from.

    Raises:
        VolforgeError: There are fewer.
    """
    wanted = settings.translation["targets"]
    if wanted is None:
        return targets
    able = rank({r["subject"] for r in targets}, seed, "targets")
    if len(able) < wanted:
        text = f"targets of {wanted} subjects are asked for, {len(able)} are left to learn from"
        raise VolforgeError(text, settings.place, "lower `targets`, or leave it out for all")
    kept = set(able[:wanted])
    return [r for r in targets if r["subject"] in kept]


def parts_of(settings: TranslationSettings) -> tuple[str, ...]:
    """Parts that a method cannot do without."""
    if settings.method == "paired":
        return ("pairs",)
    if settings.method == "painted":
        return ("targets", "sources") if settings.translation["consistency"] else ("targets",)
    return ("sources", "targets")


def refuse_pairs(found: Domains, place: str) -> None:
    """Refuse a training without pairs that would see both sides of a subject. (A frame is a subject's own.)

    Raises:
        VolforgeError: naming the subjects.
    """
    ours = {r["subject"] for r in found.sources} & {r["subject"] for r in found.targets}
    if ours:
        text = f"a training without pairs would see source and target of one subject: {', '.join(sorted(ours)[:5])}"
        raise VolforgeError(text, place, "give the two scans of a subject the same name in the column `subject`")
