"""Prompts of the benchmark: the public one for chat models, a proactive instruction for streaming models."""

from __future__ import annotations

from typing import Final

from soundflow import prompts

PUBLIC: Final = """You are a proactively helpful model.
Your task is to determine whether to assist the user based on the provided audio.
- If the audio indicates physiological danger or environmental safety risks, provide appropriate assistance.
- If it reflects negative emotions, offer mental comfort.
- If it suggests equipment malfunction, provide warnings or safety guidance.
- If none of the above apply,just respond with "No Reply".Do not explain anything.
Your final output must strictly follow this format:
<Decision>(RESPOND or IGNORE)</Decision>
<Reply>(Your reply)</Reply>"""
"""Word for word as published with the benchmark; the figures of other models were measured with it."""


def instruction() -> str:
    """Return the first instruction of proactive training streams."""
    return prompts.variants("instruction_proactive_respond")[0]
