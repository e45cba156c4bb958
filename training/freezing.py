"""The parameters that a stage trains. Resolved from modules, because paths differ between versions of transformers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from soundflow.model.thinker import StreamingThinker
from soundflow.training.config import Group


def parts(model: StreamingThinker, group: Group) -> list[nn.Parameter]:
    """Return the parameters of one group of the paper's "trainable modules".

    `new_tokens` are the embeddings of the control tokens; `lm` is the language model with its embedding, its head and the new
    tokens; `audio_encoder` is the audio tower without the adapter, which no stage of the paper trains.
    """
    tower, language = model.model.audio_tower, model.model.language_model
    if group == "lm_head":
        return list(model.lm_head.parameters())
    if group == "new_tokens":
        return [model.ctrl_embed]
    if group == "adapter":
        return list(tower.proj.parameters())
    if group == "lm":
        return [*language.parameters(), *model.lm_head.parameters(), model.ctrl_embed]
    adapter = {id(parameter) for parameter in tower.proj.parameters()}
    unused = {id(parameter) for parameter in tower.audio_bos_eos_token.parameters()}
    return [parameter for parameter in tower.parameters() if id(parameter) not in adapter | unused]


def freeze(model: StreamingThinker, groups: Sequence[Group]) -> list[nn.Parameter]:
    """Make only these groups trainable; return their parameters in the order of the model, each once."""
    trained = {id(parameter) for group in groups for parameter in parts(model, group)}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in trained)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def count(parameters: Iterable[nn.Parameter]) -> int:
    """Return the number of elements."""
    return sum(parameter.numel() for parameter in parameters)
