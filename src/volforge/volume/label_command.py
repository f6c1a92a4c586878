"""Label maps made by an outside program, run without a shell and recorded."""

from __future__ import annotations

import subprocess
from pathlib import Path

from volforge.errors import ScanError, VolforgeError
from volforge.scratch import scratch_beside, sweep
from volforge.volume.folders import read_object, sha256_of, write_json


def run_label_command(
    image: Path, record: Path, command: list[str], version_command: list[str], *, record_refusal: bool = False
) -> bool:
    """Run a program that reads an image and writes a label map.

    Args:
        image: Stands for `{image}` in the command.
        record: JSON to write: program, version and hashes; the map lies beside it as `<name>.nii.gz`, which
            stands for `{labels}`.
        command: Program and arguments; no shell sees them.
        version_command: Prints the program's version; may be empty.
        record_refusal: Record that the program failed on this scan instead of raising.

    Returns:
        Whether there is a label map.

    Raises:
        VolforgeError: the program cannot be started, whatever `record_refusal` says; or it fails.
    """
    record.parent.mkdir(parents=True, exist_ok=True)
    out = record.with_suffix(".nii.gz")
    sweep(out.parent)
    scratch = scratch_beside(out, suffix=".nii.gz")
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
    about = {"command": command, "version": version}
    if code != 0 or not scratch.is_file():
        reason = f"the label command {f'ended with {code}' if code else 'wrote no file'}"
        scratch.unlink(missing_ok=True)
        if not record_refusal:
            remedy = "see what the program says above"  # it may have lacked memory, or a server
            raise VolforgeError(f"{reason}: {' '.join(filled)}", str(image), remedy, may_pass=True)
        write_json(record, {"accepted": False, "reason": reason, **about})
        return False
    hashes = {"image_sha256": sha256_of(image), "sha256": sha256_of(scratch)}
    scratch.replace(out)
    write_json(record, {"accepted": True, "labels": out.name, **about, **hashes})
    return True


def made_labels(record: Path) -> Path:
    """The label map that a record of `run_label_command` speaks of.

    Raises:
        ScanError: the program made none.
    """
    content = read_object(record, "the record of a label command", "accepted")
    if not content["accepted"]:
        raise ScanError(content["reason"], str(record), "see the log of make_labels for what the program says")
    return record.with_name(content["labels"])
