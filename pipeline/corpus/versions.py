"""The versions of all operators that determine the bytes of a corpus."""

from __future__ import annotations

from typing import Final

from soundflow.operators.clean.ingress import INGRESS_VERSION
from soundflow.operators.clean.tfjp import TFJP_VERSION
from soundflow.operators.compose.mixing import MIXING_VERSION
from soundflow.operators.curate.planning import PLANNING_VERSION
from soundflow.operators.tasks.supervision import SUPERVISION_VERSION
from soundflow.operators.tokens.tokenize import TOKENIZE_VERSION

OPERATOR_VERSIONS: Final = {
    "ingress": INGRESS_VERSION,
    "tfjp": TFJP_VERSION,
    "planning": PLANNING_VERSION,
    "supervision": SUPERVISION_VERSION,
    "mixing": MIXING_VERSION,
    "tokenize": TOKENIZE_VERSION,
    "shard": "1",
}
"""Part of every fingerprint, since a changed operator produces a different corpus."""
