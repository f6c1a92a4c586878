"""Batch scripts of job arrays."""

from __future__ import annotations

from collections.abc import Sequence


def array_script(commands: Sequence[str]) -> str:
    """A batch script of which each task of an array runs its own command, numbered from 1."""
    cases = "".join(f"{task})\n{command}\n;;\n" for task, command in enumerate(commands, start=1))
    return f'#!/bin/sh\ncase "$SLURM_ARRAY_TASK_ID" in\n{cases}*)\necho "no such task" >&2\nexit 2\n;;\nesac\n'
