"""Digests of the texts of shipped rules: fingerprint, derivation, recognition, exported files.

After a change that is meant to alter a text, write the digests again and commit them with the
change: ``python -m tests.helpers.texts``.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from optforge.analysis import fingerprint
from optforge.equality import Simplified, recognise
from optforge.exporters import TARGETS, export
from optforge.language import load_rule, rule_names
from tests.helpers.derived import simple

FILE = Path(__file__).with_name("texts.json")


def digests(name: str, simplified: Simplified) -> dict[str, str]:
    """Return the digest of each text of a rule; measured figures are left out."""
    program = load_rule(name)
    steps = [[s.kind, s.before, s.after, s.why] for s in simplified.derivation.steps]
    texts = {
        "fingerprint": fingerprint(program),
        "derivation": json.dumps(steps),
        "recognition": recognise(simplified.program).sentence,
        **{f"{target} file": _without_version(export(program, target, name)) for target in TARGETS},
    }
    return {what: sha256(text.encode()).hexdigest()[:16] for what, text in texts.items()}


def _without_version(text: str) -> str:
    """Return the text of an exported file without the line that names optforge's version."""
    return "\n".join(line for line in text.splitlines() if "Written by optforge" not in line)


if __name__ == "__main__":
    table = {name: digests(name, simple(name)) for name in rule_names()}
    FILE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
