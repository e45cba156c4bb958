"""PEDANT (Li et al. 2024), called as VoiceBench calls it, by a Python of its own.

VoiceBench pins qa-metrics 0.2.17, which wants scikit-learn 1.3.2 and numpy below 2: it cannot be installed beside this
project. `$SOUNDFLOW_PEDANT` names the Python that has it. The package fetches its two classifiers from GitHub when it is used.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from typing import Final

from soundflow.schemas.base import InputError

VARIABLE: Final = "SOUNDFLOW_PEDANT"
NOT_RUN: Final = (
    "PEDANT is not run: name a Python that has it in $SOUNDFLOW_PEDANT"
    " (python -m venv pedant; pedant/bin/pip install qa-metrics==0.2.17 nltk; SOUNDFLOW_PEDANT=pedant/bin/python)"
)
_CODE: Final = """
import contextlib, json, sys
with contextlib.redirect_stdout(sys.stderr):
    from qa_metrics.pedant import PEDANT
    pedant = PEDANT()
    found = [bool(pedant.evaluate([reference], said, question)) for reference, said, question in json.load(sys.stdin)]
json.dump(found, sys.stdout)
"""


def pedant(rows: Sequence[tuple[str, str, str]]) -> list[bool] | None:
    """Whether each answer will do, of (reference, answer, question); an empty one does not. None where there is no PEDANT.

    Raises InputError when the Python that was named fails.
    """
    python = os.environ.get(VARIABLE)
    if not python:
        return None
    asked = [place for place, (_, said, _) in enumerate(rows) if said]
    text = json.dumps([[part.lower() for part in rows[place]] for place in asked])
    try:
        done = subprocess.run([python, "-I", "-c", _CODE], input=text, capture_output=True, text=True)
        right = dict(zip(asked, json.loads(done.stdout), strict=True))
    except OSError as error:
        raise InputError(f"cannot be started: {error.strerror}", field=VARIABLE, value=python, remedy="Name a Python") from None
    except ValueError:
        why = (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:200]
        remedy = "It needs qa-metrics 0.2.17 and nltk, and GitHub for its classifiers"
        raise InputError(f"PEDANT failed: {why}", field=VARIABLE, value=python, remedy=remedy) from None
    return [right.get(place, False) for place in range(len(rows))]
