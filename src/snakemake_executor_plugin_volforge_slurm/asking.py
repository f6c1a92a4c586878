"""Commands of SLURM that are asked, and may not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

MISSING = "no such command"


async def output(command: Sequence[str]) -> tuple[str | None, str]:
    """What a command prints, or None with the reason."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), timeout=60)
    except FileNotFoundError:
        return None, MISSING
    except OSError as error:
        return None, str(error)
    except TimeoutError:
        process.kill()
        return None, "no answer within 60 s"
    except asyncio.CancelledError:
        process.kill()
        raise
    return (
        (out.decode(errors="replace"), "") if process.returncode == 0 else (None, err.decode(errors="replace").strip())
    )
