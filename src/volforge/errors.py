"""The one family of errors that a user sees: what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


class VolforgeError(Exception):
    """An error that the user can act on.

    Args:
        message: What is wrong, in one sentence.
        where: The file, scan or setting that is concerned; empty if there is no place.
        remedy: What to do about it.
        may_pass: Whether the same may go well another time, with nothing mended: a full disk, a node without its GPU.
    """

    def __init__(self, message: str, where: str = "", remedy: str = "", *, may_pass: bool = False):
        super().__init__(message)
        self.message = message
        self.where = where
        self.remedy = remedy
        self.may_pass = may_pass

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  remedy: {self.remedy}" if self.remedy else text


class ScanError(VolforgeError):
    """A scan that cannot be used as it is: unreadable, ambiguous or implausible."""


@dataclass(frozen=True, order=True)
class Problem:
    """One finding in a configuration or a sample sheet.

    Attributes:
        file: The file as the user named it.
        line: 1-based line, 0 where there is none.
        column: 1-based column of a configuration, or the column's name in a sheet.
        value: The offending value as text.
        message: What is wrong.
        remedy: What to do.
        level: `error` stops the run, `warning` does not.
    """

    file: str
    line: int
    column: str
    value: str
    message: str
    remedy: str
    level: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = self.file + (f":{self.line}" if self.line else "")
        if self.column:
            place += f":{self.column}" if self.column.isdigit() else f" column '{self.column}'"
        value = f" (value: {self.value!r})" if self.value else ""
        remedy = f"\n    remedy: {self.remedy}" if self.remedy else ""
        return f"{self.level}: {place}: {self.message}{value}{remedy}"


class ProblemsError(VolforgeError):
    """All problems of a configuration and its sheets, raised together."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = sorted(problems)
        count = sum(p.level == "error" for p in self.problems)
        lines = "\n".join(str(p) for p in self.problems)
        super().__init__(f"{lines}\n{count} error{'s' if count != 1 else ''} found; nothing was run")


def errors_of(problems: Iterable[Problem]) -> list[Problem]:
    """The problems that stop a run."""
    return [p for p in problems if p.level == "error"]
