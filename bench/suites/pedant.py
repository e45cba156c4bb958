"""PEDANT (Li et al. 2024), called as in VoiceBench, in a separate Python environment.

VoiceBench pins qa-metrics 0.2.17, which requires scikit-learn 1.3.2 and numpy < 2 and conflicts with this project.
`$SOUNDFLOW_PEDANT` names the Python that has it. On use the package downloads its two classifiers from GitHub.
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
    "PEDANT was not run: set $SOUNDFLOW_PEDANT to a Python that has it"
    " (python -m venv pedant; pedant/bin/pip install qa-metrics==0.2.17 nltk; SOUNDFLOW_PEDANT=pedant/bin/python)"
)
_CODE: Final = """
import contextlib, json, sys
with contextlib.redirect_stdout(sys.stderr):
    from qa_metrics.pedant import PEDANT
    pedant = PEDANT()
    found = [bool(pedant.evaluate([reference], answer, question)) for reference, answer, question in json.load(sys.stdin)]
json.dump(found, sys.stdout)
"""


def pedant(rows: Sequence[tuple[str, str, str]]) -> list[bool] | None:
    """Judge (reference, answer, question) rows: whether each answer is correct. None if PEDANT is not configured.

    An empty answer is wrong. Raises InputError if the configured Python fails.
    """
    python = os.environ.get(VARIABLE)
    if not python:
        return None
    judged = [place for place, (_, answer, _) in enumerate(rows) if answer]
    text = json.dumps([[part.lower() for part in rows[place]] for place in judged])
    try:
        completed = subprocess.run([python, "-I", "-c", _CODE], input=text, capture_output=True, text=True)
        correct = dict(zip(judged, json.loads(completed.stdout), strict=True))
    except OSError as error:
        raise InputError(f"cannot be started: {error.strerror}", field=VARIABLE, value=python, remedy="Check the path") from None
    except ValueError:
        why = (completed.stderr.strip().splitlines() or ["no output"])[-1][:200]
        remedy = "Install qa-metrics 0.2.17 and nltk, and check the connection to GitHub"
        raise InputError(f"PEDANT failed: {why}", field=VARIABLE, value=python, remedy=remedy) from None
    return [correct.get(place, False) for place in range(len(rows))]
