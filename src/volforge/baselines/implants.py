"""What no learning gives of implants: the mean of others, the mirrored skull, and a closing."""

from __future__ import annotations

from volforge.study.cases import Case, Cohort, Row
from volforge.study.predictor import Predictor, learnt_from
from volforge.study.settings import ArmSettings
from volforge.volume.geometry import Array


def mean_of_others(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    """The mean implant of the training skulls, where the defective skull has no bone."""
    from volforge.baselines.implant import blind_implant, mean_implant

    with_implant = [r for r in rows if cohort.has(r["scan"], "implant") and cohort.has(r["scan"], "defective")]
    scans = [r["scan"] for r in learnt_from(settings, with_implant)]

    shares, volume = mean_implant((cohort.read(s, "implant"), cohort.read(s, "defective")) for s in scans)

    def predictor(case: Case) -> tuple[Array, Array | None]:
        return blind_implant(shares, volume, cohort.read(case.scan, "defective"))

    return predictor


def mirrored(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    """What the mirrored skull has more in the hole of the vault."""
    from volforge.baselines.implant import mirror

    def predictor(case: Case) -> tuple[Array, Array | None]:
        return mirror(cohort.read(case.scan, "defective"), cohort.grid(case.scan).affine), None

    return predictor


def closed(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    """What a closing adds in the hole of the vault."""
    from volforge.baselines.implant import close

    def predictor(case: Case) -> tuple[Array, Array | None]:
        affine = cohort.grid(case.scan).affine
        return close(cohort.read(case.scan, "defective"), affine, settings.options["closing_mm"]), None

    return predictor
