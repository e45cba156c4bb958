"""Print the table of outcomes: `python -m tests.fuzz` throws as many inputs as one run of the tests does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fuzz.harness import TABLE

if __name__ == "__main__":
    code = pytest.main([str(Path(__file__).parent), *sys.argv[1:]])
    print("\n| surface | inputs | outcome |\n|---|---|---|")
    for surface, outcomes in sorted(TABLE.items()):
        print(f"| {surface} | {outcomes.total()} | {', '.join(f'{count} {name}' for name, count in outcomes.most_common())} |")
    print(f"| total | {sum(outcomes.total() for outcomes in TABLE.values())} | |")
    raise SystemExit(code)
