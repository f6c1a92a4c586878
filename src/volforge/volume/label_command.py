"""Label maps made by an outside program, run without a shell and recorded."""

from __future__ import annotations

import subprocess
from pathlib import Path

from volforge.errors import VolforgeError
from volforge.volume.folders import sha256_of, write_json


def run_label_command(image: Path, out: Path, command: list[str], version_command: list[str]) -> None:
    """Run a program that reads an image and writes a label map.

    Args:
        image: Stands for `{image}` in the command.
        out: Stands for `{labels}`; beside it `<name>.json` records program, version and hashes.
        command: Program and arguments; no shell sees them.
        version_command: Prints the program's version; may be empty.

    Raises:
        VolforgeError: the program is missing, fails, or writes no file.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f".partial.{out.name}")
    scratch.unlink(missing_ok=True)
    filled = [word.replace("{image}", str(image)).replace("{labels}", str(scratch)) for word in command]
    try:
        version = ""
        if version_command:
            done = subprocess.run(version_command, capture_output=True, text=True, check=False)
            version = (done.stdout or done.stderr).strip()[:500]
        code = subprocess.run(filled, check=False).returncode
    except OSError as error:
        raise VolforgeError(
            f"the label command cannot be started: {error}",
            command[0],
            "install the program in the environment of the job, or mend `labels_command`",
        ) from error
    if code != 0 or not scratch.is_file():
        what = f"ended with {code}" if code else "wrote no file"
        scratch.unlink(missing_ok=True)
        raise VolforgeError(
            f"the label command {what}: {' '.join(filled)}",
            str(image),
            "see the log for what the program says",
        )
    write_json(
        out.with_name(out.name + ".json"),
        {
            "command": command,
            "version": version,
            "image_sha256": sha256_of(image),
            "sha256": sha256_of(scratch),
        },
    )
    scratch.replace(out)
