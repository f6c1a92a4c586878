"""A look at configuration files before Snakemake reads them: it builds all of them, and runs Python that they hold.

Snakemake (9.27) reads `--configfile` before any line of a Snakefile. Its reader builds what aliases stand for, and
where a file says `__use_yte__: true` it evaluates the expressions in it. Our logger plugin, which both profiles name,
is made before that, and lets the reader look first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

import yaml

from volforge.errors import Problem, ProblemsError
from volforge.text_lines import content_of
from volforge.workflow.yaml_limits import MOST_BYTES, excess_of

TEMPLATE = "__use_yte__"
READER = "load_configfile"


def look_first(files: Iterable[str | Path]) -> None:
    """Look at configuration files by their events, without building anything of them.

    What else is wrong with them is said by whoever reads them next: files that are not there, no YAML, wrong keys.

    Args:
        files: YAML or JSON.

    Raises:
        ProblemsError: Too much (see `yaml_limits`), no plain file, or expressions that Snakemake would run.
    """
    problems = [problem for file in files if (problem := _problem_of(Path(file))) is not None]
    if problems:
        raise ProblemsError(problems)


def _problem_of(file: Path) -> Problem | None:
    try:
        text = content_of(file, MOST_BYTES).decode("utf-8-sig")
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    except OSError as error:
        return Problem(str(file), 0, "", "", f"cannot be read: {error.strerror or error}", "name a plain YAML file")
    try:
        excess = excess_of(text)
        if excess is not None:
            column = str(excess.column) if excess.column else ""
            return Problem(str(file), excess.line, column, "", excess.message, excess.remedy)
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.ScalarEvent) and event.value == TEMPLATE:
                mark = event.start_mark
                line, column = (mark.line + 1, str(mark.column + 1)) if mark else (0, "")
                message = "expressions in it would be run by Snakemake (YTE)"
                return Problem(str(file), line, column, TEMPLATE, message, "write plain values")
    except yaml.YAMLError:
        return None
    return None


def let_snakemake_look_first() -> bool:
    """Let Snakemake's reader of configuration files look first, in this process; more calls change nothing.

    Returns:
        Whether it does. Another Snakemake may keep its reader elsewhere, and is left as it is.
    """
    from snakemake.common import configfile
    from snakemake.settings import types

    places = [place for place in (configfile, types) if hasattr(place, READER)]
    for place in places:
        read = getattr(place, READER)
        if not hasattr(read, "looks_first"):
            setattr(place, READER, _looking_first(read))
    return len(places) == 2


def _looking_first(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @wraps(read)
    def load_configfile(path: Any) -> Any:
        from snakemake.exceptions import WorkflowError

        try:
            look_first([path])
        except ProblemsError as error:
            raise WorkflowError(f"\n{error}") from None
        return read(path)

    load_configfile.looks_first = True  # type: ignore[attr-defined]
    return load_configfile
