"""Which streams may be published, by the licences of everything that can be heard in them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

NO_DERIVATIVES: Final = "ND"
UNKNOWN: Final = frozenset({"", "unknown"})
SHARE_ALIKE: Final = "SA"


def objection(licences: Collection[str]) -> str:
    """Return why a mix of recordings under these licences may not be published; empty if nothing forbids it.

    A mix is a derived work. Two different share-alike licences exclude each other (versions of the same one do not), and so do
    share-alike and GPL. Only the names of licences are compared; this is not legal advice.
    """
    unknown = sorted(name for name in licences if name.strip().lower() in UNKNOWN)
    if unknown:
        return "a licence is unknown"
    for name in sorted(licences):
        if NO_DERIVATIVES in name.upper().split("-"):
            return f"{name} allows no derived works"
    alike = sorted(
        {_family(name) for name in licences if SHARE_ALIKE in name.upper().split("-") or name.upper().startswith("GPL")}
    )
    return f"{' and '.join(alike)} exclude each other: each must apply to the whole mix" if len(alike) > 1 else ""


def _family(name: str) -> str:
    """Return a licence without its version: `CC-BY-SA-3.0` → `CC-BY-SA`."""
    parts = name.upper().replace("+", "").split("-")
    return "-".join(part for part in parts if not part[:1].isdigit() and part not in ("ONLY", "OR", "LATER"))


def hub_licence(licences: Collection[str]) -> str:
    """Return the `license` field of a dataset card: the strictest licence in simple cases, otherwise `other`."""
    families = {_family(name) for name in licences}
    if families <= {"CC0"}:
        return "cc0-1.0"
    if families <= {"CC0", "CC-BY"}:
        return "cc-by-4.0" if not any("3.0" in name for name in licences) else "cc-by-3.0"
    if families <= {"CC0", "CC-BY", "CC-BY-SA"}:
        return "cc-by-sa-4.0" if not any("3.0" in name for name in licences) else "cc-by-sa-3.0"
    return "other"
