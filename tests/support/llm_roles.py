"""A well-behaved model for every role: its answers follow from the data in the request."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from itertools import pairwise
from typing import Any

import numpy as np

from soundflow import prompts
from soundflow.schemas import taxonomy
from soundflow.schemas.text import join_texts, words_of


def role_of(body: dict[str, Any]) -> str:
    """The role a request is for, told by the first sentence of its system message."""
    system = str((body.get("messages") or [{}])[0].get("content", ""))
    return next((role for role in prompts.roles() if _opening(role) in system), "unknown")


@functools.cache
def _opening(role: str) -> str:
    text = prompts.role_file(role).read_text(encoding="utf-8")
    found = re.search(r"^You .{30}", text, re.MULTILINE)
    assert found
    return found[0]


def well_behaved(body: dict[str, Any]) -> str:
    """A good answer."""
    role, user = role_of(body), _user(body)
    if role == "unknown":
        return "{}"
    blocks = [json.loads(block) for block in re.findall(r"<data>\n(.*?)\n</data>", user, re.DOTALL)]
    system = str(body["messages"][0]["content"])
    seed = hashlib.blake2b(user.encode(), digest_size=8).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))
    answer = {
        "scenario_planner": _scenario,
        "event_refiner": _refinement,
        "clip_verifier": _verdict,
        "spoken_rewriter": _spoken,
        "interpreter": _segments,
        "history_question": _question,
        "history_answerer": _answerer,
        "silence_auditor": _audit,
    }[role](blocks, system, rng)
    return json.dumps(answer)


def _user(body: dict[str, Any]) -> str:
    """The first user message: what is asked."""
    content = next(message["content"] for message in body["messages"] if message["role"] == "user")
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _named(item: Any) -> str:
    """What an entry of a bag is called."""
    if isinstance(item, dict):
        item = item.get("sound") or item.get("user") or item.get("label") or item.get("caption") or item.get("text") or "a sound"
    return str(item)[:200] or "a sound"


def _scenario(blocks: list[Any], system: str, rng: np.random.Generator) -> dict[str, Any]:
    task = re.search(r"The task is (\w+)", system)
    fewest, most = map(int, re.search(r"Between (\d+) and (\d+)", system).groups())  # type: ignore[union-attr]
    bag = list(blocks[0]) or ["a sound"]
    picked = [bag[number % len(bag)] for number in rng.permutation(max(len(bag), fewest))]
    picked.sort(key=lambda item: isinstance(item, dict) and item.get("role", "foreground") != "foreground")
    events = []
    for order, item in enumerate(picked[: int(rng.integers(fewest, max(fewest, min(most, 6)) + 1))], 1):
        sound = _named(item)
        known = item if isinstance(item, dict) else {}
        role = "foreground" if order <= 2 else str(rng.choice(["foreground", "background"]))
        role = role if known.get("role", "foreground") == "foreground" else known["role"]
        events.append({"order": order, "role": role, "sound": sound, "responds": False, "why": "It belongs here."})
        if role == "foreground":
            events[-1]["responds"] = known.get("answered", _responds(task[1] if task else "", item))
    return {"title": "A short while", "setting": "At home, in the evening", "narrative": "Things happen.", "events": events}


def _responds(task: str, item: Any) -> bool:
    if task == "proactive_respond":
        return taxonomy.urgency(_named(item)) is taxonomy.Urgency.RESPOND
    if task in ("voice_chat", "streaming_asr"):
        return "say" in _named(item) or (isinstance(item, dict) and item.get("kind") == "speech")
    return True


def _refinement(blocks: list[Any], system: str, rng: np.random.Generator) -> dict[str, Any]:
    events = []
    for event in blocks[0]["events"]:
        response = f"I heard {event['sound']}. Please have a look." if event["responds"] else None
        events.append(
            {
                "order": event["order"],
                "query": event["sound"],
                "caption": f"The sound of {event['sound']}, close by."[:300],
                "min_seconds": 0.3,
                "max_seconds": 30.0,
                "response": response,
            }
        )
    return {"events": events}


def _verdict(blocks: list[Any], system: str, rng: np.random.Generator) -> dict[str, Any]:
    verdict = str(rng.choice(["accept", "reprocess", "reject"], p=[0.7, 0.15, 0.15]))
    verdict = "reject" if verdict == "reprocess" and "has been cleaned already" in system else verdict
    score = {"accept": 0.9, "reprocess": 0.6, "reject": 0.1}[verdict]
    four = dict.fromkeys(("identity", "cleanliness", "duration_fit", "continuity"), score)
    return {**four, "verdict": verdict, "reason": "By the evidence."}


def _spoken(blocks: list[Any], system: str, rng: np.random.Generator) -> dict[str, Any]:
    return {"spoken": " ".join(re.sub(r"[*_`#>|\[\]()]", " ", str(blocks[0])).replace("&", "and").split()) or "Nothing."}


def _segments(blocks: list[Any], system: str, rng: np.random.Generator) -> dict[str, Any]:
    """Word for word; a given translation is cut into equal parts."""
    clauses = blocks[0]
    if len(blocks) == 1:
        return {"segments": [f"[{clause}]" for clause in clauses]}
    words = words_of(blocks[1])
    ends = [len(words) * place // len(clauses) for place in range(len(clauses) + 1)]
    return {"segments": [join_texts(words[begin:end]) for begin, end in pairwise(ends)]}


def _question(blocks: list[Any], system: str, rng: np.random.Generator) -> dict[str, Any]:
    return {"question": "What was said at the beginning?", "answer": _named(blocks[0][0])[:200], "turn": 1}


def _answerer(blocks: list[Any], system: str, rng: np.random.Generator) -> dict[str, Any]:
    """Knows what was said first, as long as it is there."""
    first = next((turn for turn in blocks[0] if isinstance(turn, dict) and turn.get("turn") == 1), None)
    return {"known": first is not None, "answer": "" if first is None else str(first.get("user", ""))[:200]}


def _audit(blocks: list[Any], system: str, rng: np.random.Generator) -> dict[str, Any]:
    urgency = taxonomy.urgency(_named(blocks[0]))
    four = {"illness": False, "weather": False, "damage": False, "hazard": urgency is taxonomy.Urgency.RESPOND}
    return {**four, "verdict": urgency.value, "reason": "By its name."}
