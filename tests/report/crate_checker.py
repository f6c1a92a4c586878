"""The checker of RO-Crate on a folder, without a network: `python crate_checker.py FOLDER` prints its findings as JSON.

Source: rocrate-validator (CRS4), profile ro-crate-1.1. The context of JSON-LD that it would fetch is the one that comes
with the library `rocrate`; that of a later version holds all terms of an earlier one.
"""

import json
import sys
from pathlib import Path

import rocrate
from rocrate_validator import models, services
from rocrate_validator.utils import http

CONTEXT = (Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_text(encoding="utf-8")


class Answer:
    """What the checker would have been sent."""

    status_code, url, text, headers = 200, "", CONTEXT, {"Content-Type": "application/ld+json"}

    def json(self):
        """The context."""
        return json.loads(CONTEXT)


def main():
    """Check, and print."""
    asked = http.HttpRequester.__getattr__

    def answered(self, name):
        call = asked(self, name)
        if name not in ("get", "head"):
            return call
        return lambda url, *a, **k: Answer() if "w3id.org/ro/crate/" in str(url) else call(url, *a, **k)

    http.HttpRequester.__getattr__ = answered
    settings = services.ValidationSettings(
        rocrate_uri=sys.argv[1],
        profile_identifier="ro-crate-1.1",
        requirement_severity=models.Severity.RECOMMENDED,
        offline=True,
        abort_on_first=False,
    )
    found = services.validate(settings).get_issues()
    print(json.dumps([{"severity": i.severity.name, "check": i.check.identifier, "says": i.message} for i in found]))


if __name__ == "__main__":
    main()
