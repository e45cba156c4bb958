"""Licences: every spelling becomes one id with its terms, and licences that exclude each other in a mix are found."""

from __future__ import annotations

import pytest

from soundflow.schemas.licences import conflicts, licence_id, licence_notes, licence_of, licences_of, objections

# Spelling | id | terms: r redistribution, d derivatives, s share-alike, n non-commercial
TABLE = """
creativecommons.org/licenses/by-nd/3.0/ | CC-BY-ND-3.0 | r
http://creativecommons.org/licenses/by/3.0/ | CC-BY-3.0 | rd
https://creativecommons.org/licenses/by-nc-nd/4.0/deed.en | CC-BY-NC-ND-4.0 | rn
https://www.creativecommons.org/licenses/by-nd/4.0/deed.zh-hans | CC-BY-ND-4.0 | r
https://creativecommons.org/licenses/by-sa/4.0/legalcode.de#s3 | CC-BY-SA-4.0 | rds
http://creativecommons.org/licenses/by-nc-sa/3.0/us/ | CC-BY-NC-SA-3.0-US | rdsn
https://creativecommons.org/licenses/by/2.1/jp/deed.ja | CC-BY-2.1-JP | rd
//creativecommons.org/licenses/by/4.0 | CC-BY-4.0 | rd
HTTPS://CREATIVECOMMONS.ORG/LICENSES/BY-NC/4.0/ | CC-BY-NC-4.0 | rdn
http://creativecommons.org/publicdomain/zero/1.0/ | CC0-1.0 | rd
https://creativecommons.org/publicdomain/mark/1.0/deed.en | CC-PDM-1.0 | rd
http://creativecommons.org/licenses/sampling+/1.0/ | CC-Sampling-Plus-1.0 | rdn
http://creativecommons.org/licenses/sampling%2B/1.0/ | CC-Sampling-Plus-1.0 | rdn
http://creativecommons.org/licenses/sampling/1.0/ | CC-Sampling-1.0 |
Attribution | CC-BY | rd
Attribution 3.0 | CC-BY-3.0 | rd
Attribution Noncommercial | CC-BY-NC | rdn
Attribution-NoDerivs | CC-BY-ND | r
Attribution-NonCommercial-NoDerivatives 4.0 International | CC-BY-NC-ND-4.0 | rn
Attribution, Non-Commercial, No Derivative Works | CC-BY-NC-ND | rn
Creative Commons 0 | CC0-1.0 | rd
Creative Commons Attribution NonCommercial | CC-BY-NC | rdn
Creative Commons Attribution-ShareAlike 3.0 Unported | CC-BY-SA-3.0 | rds
Creative Commons Attribution-Noncommercial-No Derivative Works 3.0 United States License | CC-BY-NC-ND-3.0-US | rn
Creative Commons Attribution 4.0 International (CC BY 4.0) | CC-BY-4.0 | rd
CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/) | CC-BY-4.0 | rd
[CC BY-ND](https://creativecommons.org/licenses/by-nd/4.0/) | CC-BY-ND-4.0 | r
CC BY 2.0 UK: England & Wales | CC-BY-2.0-UK | rd
CC BY 3.0 IGO | CC-BY-3.0-IGO | rd
CC BY-NC-ND 4.0 | CC-BY-NC-ND-4.0 | rn
CC-BY-NC-ND-4.0 | CC-BY-NC-ND-4.0 | rn
cc-by-nc-nd-4.0 | CC-BY-NC-ND-4.0 | rn
CC_BY_ND | CC-BY-ND | r
CC BY‑NC‑ND 4.0 | CC-BY-NC-ND-4.0 | rn
ccbyncnd | CC-BY-NC-ND | rn
by-nd | CC-BY-ND | r
CC-BY-SA | CC-BY-SA | rds
CC BY SA v4.0 | CC-BY-SA-4.0 | rds
CC BY-SA 3 | CC-BY-SA-3.0 | rds
CC-BY-NC-SA-4.0 | CC-BY-NC-SA-4.0 | rdsn
CC0 | CC0-1.0 | rd
cc0-1.0 | CC0-1.0 | rd
CC Zero | CC0-1.0 | rd
CC0 1.0 Universal (CC0 1.0) Public Domain Dedication | CC0-1.0 | rd
Creative Commons Zero v1.0 Universal | CC0-1.0 | rd
Public Domain | Public-Domain | rd
public domain mark | CC-PDM-1.0 | rd
Sampling+ | CC-Sampling-Plus-1.0 | rdn
署名-非商业性使用-禁止演绎 4.0 国际 | CC-BY-NC-ND-4.0 | rn
知识共享署名-相同方式共享 4.0 | CC-BY-SA-4.0 | rds
MIT | MIT | rd
The MIT License (MIT) | MIT | rd
https://opensource.org/licenses/MIT | MIT | rd
Apache 2.0 | Apache-2.0 | rd
Apache License, Version 2.0 | Apache-2.0 | rd
http://www.apache.org/licenses/LICENSE-2.0.html | Apache-2.0 | rd
BSD 3-Clause | BSD-3-Clause | rd
The Unlicense | Unlicense | rd
GPL-3+ | GPL-3.0-or-later | rds
GPLv3 | GPL-3.0-only | rds
GNU General Public License v2.0 or later | GPL-2.0-or-later | rds
https://www.gnu.org/licenses/gpl-3.0.en.html | GPL-3.0-only | rds
LGPL-2.1-or-later | LGPL-2.1-or-later | rds
AGPL-3.0 | AGPL-3.0-only | rds
ODC-By | ODC-By-1.0 | rd
https://opendatacommons.org/licenses/odbl/1-0/ | ODbL-1.0 | rds
Free Art License 1.3 | LAL-1.3 | rds
Open Government Licence v3.0 | OGL-UK-3.0 | rd
CC BY 4.0 AND MIT License | CC-BY-4.0 AND MIT |
MIT OR GPL-3.0 | MIT OR GPL-3.0-only | rd
 | unknown |
Unknown | unknown |
N/A | unknown |
© All Rights Reserved. | All-Rights-Reserved |
copyright | All-Rights-Reserved |
""".strip("\n")


@pytest.mark.parametrize("line", TABLE.split("\n"))
def test_every_spelling_has_its_id_and_its_terms(line: str) -> None:
    spelling, wanted, terms = (cell.strip() for cell in line.split("|"))
    assert licence_id(spelling) == wanted == licence_id(wanted), "an id is its own id"
    found = licence_of(spelling)
    flags = zip("rdsn", (found.redistribution, found.derivatives, found.share_alike, found.non_commercial), strict=True)
    assert "".join(letter for letter, holds in flags if holds) == terms


@pytest.mark.parametrize(
    "text",
    [
        *("CC", "Creative Commons", "non-commercial", "NoDerivatives", "research only", "royalty free", "custom", "generated"),
        *("CC BY 4.0 except the music", "CC BY 3.0 or 4.0", "CC BY-ND-SA", "CC BY 5.0", "https://example.org/licence"),
        *("CC BY 4.0 (https://creativecommons.org/licenses/by-nd/4.0/)", "MIT License (CC BY-ND 4.0)"),
    ],
)
def test_a_licence_that_is_not_recognised_keeps_its_text_and_permits_nothing(text: str) -> None:
    assert licence_id(f"  {text} ") == text
    found = licence_of(text)
    assert not found.redistribution and not found.derivatives and list(objections([found]))


def test_of_several_licences_all_apply_and_of_alternatives_the_freest() -> None:
    assert [part.id for part in licences_of("CC BY 4.0 AND Apache 2.0")] == ["CC-BY-4.0", "Apache-2.0"]
    assert [part.id for part in licences_of("CC BY 4.0; CC BY 4.0")] == ["CC-BY-4.0"]
    assert not licences_of("CC BY-ND 4.0 OR CC BY-SA 4.0")[0].non_commercial
    assert licences_of("CC BY-ND 4.0 OR CC BY-SA 4.0")[0].is_publishable
    assert not all(part.is_publishable for part in licences_of("CC0 AND something else"))


@pytest.mark.parametrize(
    ("licences", "why"),
    [
        (["CC0", "CC BY 4.0", "Attribution 3.0", "CC BY-NC 4.0"], ""),
        (["CC BY-SA 3.0", "Attribution-ShareAlike 4.0 International", "CC0"], ""),
        (["CC BY-NC-SA 4.0", "CC BY-NC 4.0"], ""),
        (["CC BY-SA 3.0", "GPL-2+"], "CC-BY-SA-3.0 and GPL-2.0-or-later exclude each other: each must apply"),
        (["CC BY-SA 4.0", "CC BY-NC-SA 4.0"], "each must apply to the whole mix"),
        (["http://creativecommons.org/licenses/by-sa/1.0/", "CC BY-SA 4.0"], "each must apply to the whole mix"),
        (["Attribution-ShareAlike", "Attribution Noncommercial"], "CC-BY-NC forbids commercial use"),
        (["Sampling+", "CC BY-SA 4.0"], "CC-Sampling-Plus-1.0 forbids commercial use"),
        (["CC BY-ND 4.0", "CC0"], "CC-BY-ND-4.0 permits no derivative works"),
        (["All rights reserved"], "All-Rights-Reserved is not known to permit redistribution"),
        (["CC0", ""], "a licence is unknown"),
    ],
)
def test_what_forbids_a_mix_is_named(licences: list[str], why: str) -> None:
    found = "; ".join(objections(map(licence_of, licences)))
    assert why in found and bool(why) == bool(found)


def test_notes_name_the_licences_that_forbid_publication_with_their_clips() -> None:
    clips = {"CC0": 9, "CC BY-SA 3.0": 2, "http://creativecommons.org/licenses/by-sa/3.0/": 1, "CC BY-NC": 4, "By-ND": 5, "": 6}
    notes = licence_notes(clips)
    assert len(notes) == 3
    assert notes[0].endswith("CC-BY-ND permits no derivative works (5 clips)")
    assert notes[1].endswith("a licence is unknown (6 clips)")
    assert "CC-BY-SA-3.0 and CC-BY-NC exclude each other" in notes[2] and notes[2].endswith("(3 and 4 clips)")
    assert licence_notes({"CC0": 1, "MIT": 2}) == []


def test_a_licence_that_forbids_every_mix_is_no_conflict() -> None:
    assert list(conflicts([licence_of("CC BY-ND 4.0"), licence_of("CC BY-SA 4.0")])) == []
