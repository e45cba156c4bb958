"""Licences of recordings: any spelling of a licence becomes an SPDX-like id, and the id says what the licence permits.

Ids are those of https://spdx.org/licenses where SPDX has one. A Creative Commons licence without a version keeps none (`CC-BY`).
The terms are a reading of the licences for the question whether a mix may be published; they are not legal advice.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import combinations
from typing import Final, NamedTuple

from soundflow.schemas.text import counted

UNKNOWN: Final = "unknown"
AND: Final = " AND "
"""Joins the licences of a recording that falls under several of them, such as that of a text and that of its voice."""
OR: Final = " OR "


class Licence(NamedTuple):
    """A licence and its terms."""

    id: str
    redistribution: bool = True
    """Whether copies may be passed on."""
    derivatives: bool = True
    """Whether adapted works, such as a mix, may be passed on."""
    share_alike: bool = False
    """Whether an adapted work must be under the same licence."""
    non_commercial: bool = False

    @property
    def is_publishable(self) -> bool:
        """Whether a mix with a recording under this licence may be published at all."""
        return self.redistribution and self.derivatives

    @property
    def family(self) -> str:
        """The licence without its version: `CC-BY-SA-3.0` → `CC-BY-SA`. Later versions of one family are compatible.

        CC-BY-SA-1.0 does not permit later versions and is a family of its own.
        """
        return self.id if self.share_alike and self.id.endswith("SA-1.0") else _without_version(self.id)


def licence_id(text: str) -> str:
    """Return the SPDX-like id of a licence in any spelling: `unknown` if none is stated, the text itself if it is not recognised.

    Several licences are joined by ` AND ` or ` OR `.
    """
    text = " ".join(text.split())
    if _one(text) is None:
        for joint in (AND, OR):
            parts = _split(text, joint)
            if len(parts) > 1:
                return joint.join(dict.fromkeys(map(licence_id, parts)))
    return licence_of(text).id


def licences_of(text: str) -> list[Licence]:
    """Return the licences that all apply to a recording with the licence field `text`; of alternatives (` OR `), the freest."""
    return [licence_of(part) for part in _split(licence_id(text), AND)]


@functools.lru_cache(maxsize=4096)
def licence_of(text: str) -> Licence:
    """Return the licence of this name, full name or URL. One that is not recognised permits nothing."""
    found = _one(text)
    if found is None and OR in text:
        found = min((licence_of(part) for part in _split(text, OR)), key=_restrictions)
    return found or Licence(" ".join(text.split()), redistribution=False, derivatives=False)


def objections(licences: Iterable[Licence]) -> dict[str, tuple[str, ...]]:
    """Return why a mix of recordings under these licences may not be published: reason → ids of the licences it is about."""
    unique = sorted(set(licences))
    alone = {why: (licence.id,) for licence in unique if (why := objection(licence))}
    return alone | {why: (first.id, second.id) for first, second, why in conflicts(unique)}


def objection(licence: Licence) -> str:
    """Return why a mix with a recording under this licence may not be published; empty if nothing forbids it."""
    if licence.id == UNKNOWN:
        return "a licence is unknown"
    if not licence.redistribution:
        return f"{licence.id} is not known to permit redistribution"
    return "" if licence.derivatives else f"{licence.id} permits no derivative works"


def conflicts(licences: Iterable[Licence]) -> Iterator[tuple[Licence, Licence, str]]:
    """Yield the pairs of licences that exclude each other in one mix, with the reason.

    Two share-alike licences of different families exclude each other, since each must apply to the whole mix. So do a share-alike
    licence that permits commercial use and a licence that forbids it.
    """
    for first, second in combinations(sorted(set(licences)), 2):
        one, other = (second, first) if second.share_alike and not first.share_alike else (first, second)
        if one.is_publishable and other.is_publishable and one.share_alike:
            names = f"{one.id} and {other.id} exclude each other: "
            if other.share_alike and one.family != other.family:
                yield one, other, f"{names}each must apply to the whole mix"
            elif other.non_commercial and not one.non_commercial:
                yield one, other, f"{names}{one.id} must apply to the whole mix, {other.id} forbids commercial use"


def is_listed(text: str, listed: Collection[str]) -> bool:
    """Return whether all licences of a recording are in a list of ids; one without a version stands for all versions."""
    return all(bool({licence.id, _without_version(licence.id)} & set(listed)) for licence in licences_of(text))


def _without_version(name: str) -> str:
    return re.sub(r"-\d(\.\d+)?(-.*)?$", "", name)


def licence_notes(clips: Mapping[str, int]) -> list[str]:
    """Return which licences forbid publishing a stream, and which exclude each other in one, as sentences.

    `clips`: licence, in any spelling, → number of clips.
    """
    counts: Counter[Licence] = Counter()
    for text, count in clips.items():
        for licence in licences_of(text):
            counts[licence] += count
    alone = [(why, counted(count, "clip")) for licence, count in sorted(counts.items()) if (why := objection(licence))]
    pairs = [(why, f"{counts[first]:,} and {counted(counts[second], 'clip')}") for first, second, why in conflicts(counts)]
    return [f"streams with these clips may not be published: {why} ({number})" for why, number in alone] + [
        f"streams that mix these clips may not be published: {why} ({number})" for why, number in pairs
    ]


def _split(text: str, joint: str) -> list[str]:
    return [part for part in re.split(rf"{joint}|;" if joint is AND else joint, text) if part.strip()] or [""]


def _restrictions(licence: Licence) -> int:
    return 4 * (not licence.is_publishable) + 2 * licence.share_alike + licence.non_commercial


_UNSTATED: Final = frozenset(("", UNKNOWN, "n/a", "na", "none", "null", "nan", "-", "?", "not specified", "unspecified", "tbd"))
_NOT_PUBLISHABLE: Final = frozenset((UNKNOWN, "All-Rights-Reserved", "CC-Sampling-1.0"))
_SHARE_ALIKE: Final = frozenset(("GPL", "LGPL", "AGPL", "GFDL", "MPL", "EUPL", "ODbL", "CDLA-Sharing", "LAL"))
"""Families of share-alike licences that are not of Creative Commons."""
_NAMES: Final = {
    "All-Rights-Reserved": "allrightsreserved copyright copyrighted proprietary",
    "Public-Domain": "publicdomain pd inpublicdomain uspublicdomain nocopyright norightsreserved",
    "CC-PDM-1.0": "publicdomainmark publicdomainmark1 pdm pdm1 ccpdm ccpdm1 ccpublicdomainmark1",
    "CC-PDDC": "ccpddc ccpublicdomain creativecommonspublicdomain",
    "MIT": "mit expat mitexpat mitx11",
    "MIT-0": "mit0 mitnoattribution",
    "Apache-2.0": "apache apache2 asl2 al2",
    "Apache-1.1": "apache1.1",
    "BSD-2-Clause": "bsd2clause 2clausebsd simplifiedbsd freebsd bsd2",
    "BSD-3-Clause": "bsd bsd3clause 3clausebsd newbsd modifiedbsd revisedbsd bsd3 bsdstyle",
    "BSD-4-Clause": "bsd4clause 4clausebsd originalbsd oldbsd",
    "0BSD": "0bsd bsd0clause zeroclausebsd",
    "ISC": "isc",
    "Zlib": "zlib",
    "BSL-1.0": "bsl1 boost boost1",
    "Unlicense": "unlicense",
    "WTFPL": "wtfpl",
    "MPL-2.0": "mpl mpl2 mozillapublic2",
    "EUPL-1.2": "eupl eupl1.2",
    "Artistic-2.0": "artistic2",
    "LAL-1.3": "lal lal1.3 fal fal1.3 freeart freeart1.3 artlibre",
    "ODbL-1.0": "odbl odbl1 opendatabase opendatabase1 opendatabaseodbl1 opendatacommonsopendatabase",
    "ODC-By-1.0": "odcby odcby1 odcattribution opendatacommonsattribution opendatacommonsattribution1",
    "PDDL-1.0": "pddl pddl1 odcpddl opendatacommonspublicdomaindedicationand",
    "CDLA-Permissive-1.0": "cdlapermissive1",
    "CDLA-Permissive-2.0": "cdlapermissive cdlapermissive2",
    "CDLA-Sharing-1.0": "cdlasharing cdlasharing1",
    "OGL-UK-3.0": "ogl ogl3 ogluk3 opengovernment opengovernment3",
}
"""Id → spellings as `_key` leaves them."""
_ID_OF: Final = {spelling: name for name, spellings in _NAMES.items() for spelling in spellings.split()}
_CC0: Final = re.compile(
    r"(cc|creativecommons)(0|zero)1?(universal)?((cc0|cczero)1?)?(publicdomaindedication|publicdomain)?|publicdomaindedication"
)
_SAMPLING: Final = re.compile(r"(?:cc|creativecommons)?(nc|noncommercial)?sampling(\+|plus)?1?")
_GNU: Final = re.compile(
    r"(?:gnu)?(?:(?P<gpl>gpl|generalpublic)|(?P<lgpl>lgpl|l(?:esser|ibrary)generalpublic)|(?P<agpl>agpl|afferogeneralpublic)|"
    r"(?P<gfdl>g?fdl|freedocumentation))(?P<version>[1-3](?:\.\d)?)?"
    r"(?:(?P<later>\+|plus|orlater|orabove|orhigher|ornewer|oranylater|oratyouroptionanylater)|only)?"
)

_PORTS: Final = (
    "ar at au be bg br ca ch cl cn co cr cz de dk ec ee eg es fi fr ge gr gt hk hr hu ie il in it jp kr lu mk mt mx my nl no nz "
    "pe ph pl pr pt ro rs se sg si th tw ug uk us ve vn za igo scotland"
)
"""Jurisdictions that Creative Commons ported its licences to, as its URLs name them."""
_COUNTRIES: Final = {
    "united states": "us", "usa": "us", "united kingdom": "uk", "uk england wales": "uk", "england wales": "uk", "germany": "de",
    "deutschland": "de", "france": "fr", "spain": "es", "italy": "it", "japan": "jp", "netherlands": "nl", "australia": "au",
    "austria": "at", "canada": "ca", "brazil": "br", "poland": "pl", "new zealand": "nz", "sweden": "se", "switzerland": "ch",
    "china mainland": "cn", "taiwan": "tw",
}  # fmt: skip
_CC: Final = re.compile(
    r" ?(?:(?P<cc>creative ?commons?|cc|知识共享)|(?P<by>attribution|by|署名)|"
    r"(?P<nc>non ?commercial(?: use)?(?: only)?|nc|非商业性(?:使用)?)|"
    r"(?P<nd>no ?deriv(?:ativ|at)?(?:e|ion)?s?(?: ?works?)?|nd|禁止演绎)|(?P<sa>share ?alike|sa|以?相同方式共享)|"
    r"(?:v|ver|version)? ?(?P<version>[1-4](?:\.\d)?)(?![\d.])"
    rf"(?: ?(?P<port>{'|'.join([*_COUNTRIES, *_PORTS.split()])}))?(?![a-z])|"
    r"(?P<filler>licen[cs]ed?|under|the|international|intergovernmental|unported|generic|deed|legal ?code|public|国际))"
)
"""A word of the name of a Creative Commons licence. Words may be written together."""
_CC_URL: Final = re.compile(
    r"(?:https?:)?(?://)?(?:www\.)?creativecommons\.org/(?:licen[sc]es|publicdomain)/(?P<code>[a-z0-9+%-]+)"
    r"(?:/(?P<version>\d(?:\.\d)?))?(?:/(?P<port>[a-z]{2}|igo|scotland)(?![a-z0-9.]))?[^\s\"'<>()\[\],;]*"
)
_URLS: Final = tuple(
    re.compile(rf"(?:https?:)?(?://)?(?:www\.)?{place}[^\s\"'<>()\[\],;]*")
    for place in (
        r"apache\.org/licenses/license-(?P<apache>\d\.\d)",
        r"(?:opensource\.org/licen[sc]es?|spdx\.org/licenses|choosealicense\.com/licenses)/(?P<name>[a-z0-9.+-]+?)(?=\.html|/|\s|$)",
        r"gnu\.org/(?:licenses|copyleft)/(?:old-licenses/)?(?P<gnu>[a-z]+(?:-\d\.\d)?)",
        r"(?:artlibre|mit-license|unlicense)\.org(?=/|\s|$)",
        r"opendatacommons\.org/licenses/(?P<odc>by|odbl|pddl)",
        r"mozilla\.org/(?:[a-z]{2}-[a-z]{2}/)?mpl/(?P<mpl>2\.0)",
        r"cdla\.dev/(?P<cdla>permissive|sharing)-(?P<digit>\d)-0",
    )
)


def _one(text: str) -> Licence | None:
    """Return the licence that `text` names, perhaps more than once: `Attribution 4.0 (CC BY 4.0), https://…`. None if unclear."""
    plain = unicodedata.normalize("NFKC", text).casefold().strip()
    if plain in _UNSTATED:
        return _with_terms(UNKNOWN)
    urls = [found for pattern in (_CC_URL, *_URLS) for found in pattern.finditer(plain)]
    rest = plain
    for url in urls:
        rest = rest.replace(url[0], " ")
    names = [_of_url(url) for url in urls]
    if re.search(r"\w", rest):
        whole = _of_name(rest)
        names += [whole] if whole else [_of_name(part) for part in re.split(r"[()\[\]]", rest) if re.search(r"\w", part)]
    if None in names or not names:
        return None
    # The most specific name counts: `CC-BY` says less than `CC-BY-4.0`.
    longest = max(filter(None, names), key=len)
    return _with_terms(longest) if all(longest == name or longest.startswith(f"{name}-") for name in names) else None


def _of_url(url: re.Match[str]) -> str | None:
    parts = {name: value for name, value in url.groupdict().items() if value}
    if "code" in parts:
        return _of_cc_url(parts)
    for name in ("apache", "mpl"):
        if name in parts:
            return _of_name(f"{name} {parts[name]}")
    if "odc" in parts:
        return _of_name({"by": "odc-by"}.get(parts["odc"], parts["odc"]))
    if "cdla" in parts:
        return _of_name(f"cdla {parts['cdla']} {parts['digit']}.0")
    named = parts.get("name") or parts.get("gnu")
    return _of_name(named if named else re.split(r"[/.]", re.sub(r"^.*//|www\.", "", url[0]))[0].replace("-license", ""))


def _of_cc_url(parts: dict[str, str]) -> str | None:
    code = parts["code"].replace("%2b", "+")
    whole = {"zero": "CC0-1.0", "mark": "CC-PDM-1.0", "publicdomain": "CC-PDDC"}.get(code)
    return whole or _of_name(" ".join(("cc", code, parts.get("version", ""), parts.get("port", ""))))


def _of_name(text: str) -> str | None:
    key = _key(text)
    if key in _ID_OF:
        return _ID_OF[key]
    if _CC0.fullmatch(key):
        return "CC0-1.0"
    if sampling := _SAMPLING.fullmatch(key):
        return f"CC-{'NC-' if sampling[1] else ''}Sampling-{'Plus-' if sampling[2] else ''}1.0"
    if gnu := _GNU.fullmatch(key):
        family = next(name.upper() for name in ("gpl", "lgpl", "agpl", "gfdl") if gnu[name])
        version = f"{gnu['version']}.0" if len(gnu["version"] or "") == 1 else gnu["version"]
        return f"{family}-{version}-{'or-later' if gnu['later'] else 'only'}" if version else family
    return _creative_commons(" ".join(word for word in re.findall(r"\d+(?:\.\d+)?|[^\W\d_]+", text) if word != "and"))


def _key(text: str) -> str:
    """Return a name without separators, the words that any licence has, `v` before and `.0` after a version number."""
    words = re.findall(r"[^\W\d_]+|\d+(?:\.\d+)*|\+", re.sub(r"\bv(?:er(?:sion)?)?\.? ?(?=\d)|(?<=[a-z])v\.?(?=\d)", " ", text))
    kept = [word.removesuffix(".0") for word in words if word not in ("the", "license", "licence", "version", "of", "in", "data")]
    return "".join(kept)


def _creative_commons(words: str) -> str | None:
    """Return the id of a Creative Commons licence whose name consists of `words` and nothing else."""
    elements: set[str] = set()
    versions: set[str] = set()
    ports: set[str] = set()
    at = 0
    while at < len(words):
        found = _CC.match(words, at)
        if found is None:
            return None
        elements.add(str(found.lastgroup))
        if found["version"]:
            versions.add(found["version"] if "." in found["version"] else f"{found['version']}.0")
        if found["port"]:
            ports.add(_COUNTRIES.get(found["port"], found["port"]).upper())
        at = found.end()
    terms = [name for name in ("by", "nc", "nd", "sa") if name in elements]
    if not terms or not elements & {"cc", "by"} or {"nd", "sa"} <= elements or len(versions) > 1 or len(ports) > 1:
        return None
    return "-".join(["CC", *(name.upper() for name in terms), *versions, *ports])


def _with_terms(name: str) -> Licence:
    """Return an id with its terms."""
    if name in _NOT_PUBLISHABLE:
        return Licence(name, redistribution=False, derivatives=False)
    parts = name.split("-")
    is_cc = parts[0] == "CC"
    shared = (is_cc and "SA" in parts) or any(name == family or name.startswith(f"{family}-") for family in _SHARE_ALIKE)
    limited = is_cc and ("NC" in parts or "Sampling" in parts)
    return Licence(name, True, not (is_cc and "ND" in parts), shared, limited)
