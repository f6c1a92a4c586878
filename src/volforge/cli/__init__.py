"""The command line, `volforge <noun> <verb>`: one module per noun, loaded when it is asked for."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from volforge import __version__
from volforge.errors import VolforgeError

NOUNS = {
    "new": "Make the folder of a project: sheet, configuration, and the line that runs it.",
    "run": "Run the project in this folder, by Snakemake.",
    "cohort": "Sample sheets, phantom cohorts, and the table of a cohort's scans.",
    "scan": "One scan: import, cut, restore, make labels; PNG export.",
    "model": "Models and baselines of a study: train, predict.",
    "shape": "Negative volumes of jaw joints; left against right.",
    "implant": "Cranial implants: defects, models, one skull by hand, looks into models.",
    "measure": "Measures of any two files or folders, by hand.",
    "study": "Results of a study: measures, table, figures, the report page.",
    "weights": "Public weights of feature networks: fetch, list.",
    "cluster": "A SLURM cluster: look at it, and say what to set.",
    "status": "Where a run stands: done, running, queued, waiting, failed and why.",
    "verify": "Hash the results of a run again: what is changed, what is gone.",
    "validate": "Check a configuration and all its sheets, before anything runs.",
}


class _LazyGroup(TyperGroup):
    """A group that imports a noun's module only when that noun is called: `--help` stays quick."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(NOUNS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in NOUNS:
            return None
        wanted = next((w for w in sys.argv[1:] if not w.startswith("-")), None)
        if wanted != cmd_name:  # listed in the help of the whole: name and sentence are enough
            return TyperCommand(name=cmd_name, help=NOUNS[cmd_name], callback=lambda: None)
        app = import_module(f"volforge.cli.{cmd_name}").app
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_LazyGroup,
    add_completion=False,
    no_args_is_help=True,
    help="Cohorts of medical volumes to models, meshes, synthetic images and the tables of a paper.",
    pretty_exceptions_enable=False,
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"volforge {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line: an error that the user can act on prints as text and exits with 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may hold what the terminal cannot show
    marker = os.environ.pop("VOLFORGE_LASTING", "")  # of the workflow; programs that a job starts are not told of it
    try:
        app()
    except VolforgeError as error:
        print(f"volforge: {error}", file=sys.stderr)
        if marker:
            from volforge.lasting import leave_marker

            leave_marker(Path(marker), error)
        raise SystemExit(1) from error
    except OSError as error:  # of a library, of a file that vanished; our own readers and writers say more
        print(f"volforge: {_of_system(error)}", file=sys.stderr)
        raise SystemExit(1) from error


def _of_system(error: OSError) -> VolforgeError:
    from volforge.whole_file import FULL, not_written

    place = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else None
    if error.errno in FULL:
        return not_written(error, place or Path("a file of this run"))
    text = error.strerror or str(error)
    return VolforgeError(
        f"{text[:1].lower()}{text[1:]}", str(place or ""), "check the path, and whether you may use it"
    )
