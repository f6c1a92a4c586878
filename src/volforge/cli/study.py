"""`volforge study`: measures, table, figures and report of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volforge import places
from volforge.errors import VolforgeError

TABLE = (
    "study", "task", "cohort", "arms", "parts", "published", "shown", "judged_in", "picture", "note", "compares_sides",
)  # fmt: skip
"""Keys of table.settings.json that are always there."""

app = typer.Typer(no_args_is_help=True, help="Results of a study: measures, table, figures, and the report page.")


@app.command()
def measure(
    settings: Annotated[Path, typer.Option(help="settings.json of the arm.")],
    scans: Annotated[Path, typer.Option(help="scans.tsv of the cohort.")],
    predictions: Annotated[Path, typer.Option(help="Folder with predictions.tsv.")],
    out: Annotated[Path, typer.Option(help="measures.tsv to write.")],
    cases: Annotated[Path, typer.Option(help="Folder to write: pictures of cases, calibration, features.")],
    fold: Annotated[int, typer.Option(help="Fold that is tested; 0 for the split `test`.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the arm.")] = 0,
    encoder: Annotated[Path | None, typer.Option(help="Weights of the study's slice encoder.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for features of real images.")] = None,
    judge: Annotated[Path | None, typer.Option(help="Weights of the study's judging segmenter.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Folder of the predictions of the arm that the others are compared with.")
    ] = None,
) -> None:
    r"""Measure all predictions of an arm.

    Example: volforge study measure --settings \
      results/studies/organs/volforge/settings.json --scans \
      results/cohorts/mine/scans.tsv --predictions predictions --out \
      measures.tsv --cases cases
    """
    from volforge.study.jobs import MeasureJob
    from volforge.study.settings import ArmSettings

    loaded = ArmSettings.load(settings)
    if loaded.purpose == "predict":
        raise VolforgeError("these settings are those of predictions", str(settings), "name settings.json beside them")
    job = MeasureJob(scans, predictions, out, cases, fold, seed, encoder, cache, judge, reference)
    typer.echo(f"{places.at(loaded.entry)(loaded, job)} measures in {out}")


@app.command()
def collect(
    parts: Annotated[list[Path], typer.Argument(help="measures.tsv of every arm, fold and seed.")],
    out: Annotated[Path, typer.Option(help="measures.tsv of the study to write.")],
) -> None:
    r"""Join the measures of a study.

    Example: volforge study collect a/measures.tsv b/measures.tsv --out \
      measures.tsv
    """
    from volforge.study.measures import collect as join

    typer.echo(f"{join(parts, out)} measures in {out}")


@app.command()
def table(
    measures: Annotated[Path, typer.Option(help="measures.tsv of the study.")],
    settings: Annotated[Path, typer.Option(help="table.settings.json of the study.")],
    out: Annotated[Path, typer.Option(help="Folder to write table.tsv, .md, .tex, .json and cost.tsv to.")],
) -> None:
    r"""Make the table of a study.

    Example: volforge study table --measures \
      results/studies/organs/measures.tsv --settings \
      results/studies/organs/table.settings.json --out table
    """
    from volforge.report.study_files import write_tables
    from volforge.volume.folders import read_object

    write_tables(measures, read_object(settings, "the settings of a table", *TABLE), out)
    typer.echo(str(out / "table.md"))


@app.command()
def figures(
    measures: Annotated[Path, typer.Option(help="measures.tsv of the study.")],
    settings: Annotated[Path, typer.Option(help="table.settings.json of the study.")],
    out: Annotated[Path, typer.Option(help="Folder to write; it appears whole.")],
) -> None:
    r"""Draw the figures of a study.

    Example: volforge study figures --measures \
      results/studies/organs/measures.tsv --settings \
      results/studies/organs/table.settings.json --out figures
    """
    from volforge.report.study_files import write_study_figures
    from volforge.volume.folders import read_object

    names = write_study_figures(measures, read_object(settings, "the settings of a table", *TABLE), out)
    typer.echo(f"{len(names)} figures in {out}")


@app.command()
def report(
    results: Annotated[Path, typer.Option(help="Folder of results.")],
    out: Annotated[Path, typer.Option(help="Page to write.")],
    provenance: Annotated[Path, typer.Option(help="provenance.json to write.")],
    settings: Annotated[Path, typer.Option(help="report.json: title, cohorts, recipes, configuration.")],
) -> None:
    r"""Write the report page and the provenance of a run.

    Example: volforge study report --results results --out report.html \
      --provenance provenance.json --settings results/report.json
    """
    from volforge.report.crate import CRATE
    from volforge.report.page import write_report
    from volforge.volume.folders import read_object

    request = read_object(settings, "the settings of a report", "configuration", "report", "cohorts")
    if out.resolve().is_relative_to(results.resolve()):
        (results / CRATE).unlink(missing_ok=True)  # it names another page by its hash
    write_report(results, out, provenance, request, ran=_ran())
    typer.echo(str(out))


@app.command()
def crate(
    results: Annotated[Path, typer.Argument(help="Folder of results.")],
    settings: Annotated[Path, typer.Option(help="report.json: title, cohorts, studies.")],
    provenance: Annotated[Path, typer.Option(help="provenance.json of the run.")],
) -> None:
    r"""Write ro-crate-metadata.json: every file of a run with its hash, for `volforge verify`.

    Example: volforge study crate results --settings results/report.json \
      --provenance results/provenance.json
    """
    from volforge.report.crate import write_crate
    from volforge.volume.folders import read_object

    request = read_object(settings, "the settings of a report", "report", "cohorts", "studies")
    origin = read_object(provenance, "the provenance of a run", "versions", "input_sha256")
    typer.echo(str(write_crate(results, request, origin)))


@app.command("report-so-far")
def report_so_far(
    results: Annotated[Path, typer.Option(help="Folder of results.")],
    out: Annotated[Path, typer.Option(help="Page to write.")],
    request: Annotated[Path, typer.Option(help="unfinished.json: the report's settings, and what is not there.")],
) -> None:
    r"""Write the page of a run that ended with failures: what is there, and why the rest is not.

    Example: volforge study report-so-far --results results --out report.html \
      --request unfinished.json
    """
    from volforge.report.crate import CRATE
    from volforge.report.page import write_report
    from volforge.volume.folders import read_object

    (results / CRATE).unlink(missing_ok=True)  # of an earlier run; the page tells what is lacking
    content = read_object(request, "what is left of a run", "request", "left")
    write_report(results, out, results / "provenance.json", content["request"], content["left"], ran=_ran())
    typer.echo(str(out))


def _ran() -> str:
    """How long the run has taken that writes the page, and what failed in it; empty where a person writes it."""
    import time

    from volforge.workflow.duration import in_words
    from volforge.workflow.status import JOURNAL, read_journal

    journal = read_journal(JOURNAL)
    writes_it = journal is not None and any(j.rule == "report" and j.state == "running" for j in journal.jobs)
    if journal is None or journal.is_alive is False or not (writes_it or journal.is_alive):
        return ""
    failed = sum(job.state == "failed" for job in journal.jobs)
    tried = sum(job.attempts > 1 for job in journal.jobs)
    words = [f"{in_words(time.time() - journal.began)}, {len(journal.jobs)} jobs", f"{failed} failed"]
    return ", ".join([*words, *([f"{tried} tried again"] if tried else [])])
