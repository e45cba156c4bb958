"""A model small enough for tests."""

from __future__ import annotations

from pathlib import Path

import torch

from soundflow.model.presets import preset
from soundflow.model.thinker import StreamingThinker
from soundflow.model.vocabulary import StreamingConfig
from soundflow.training.config import StageConfig
from soundflow.training.corpus import text_ids
from tests.training.made import MadeCorpus

torch.set_num_threads(1)
ALL = ("adapter", "lm", "audio_encoder")


def pico(text_ids: tuple[int, ...], seed: int = 0, chunk_frames: int = 40) -> StreamingThinker:
    """About 30,000 parameters."""
    streaming = StreamingConfig(layout="soundflow/1", text_ids=text_ids, chunk_frames=chunk_frames)
    config = preset("nano", streaming)
    text, audio = config.text_config, config.audio_config
    text.hidden_size = audio.output_dim = 32
    text.intermediate_size, text.num_hidden_layers, text.num_attention_heads, text.num_key_value_heads = 32, 2, 2, 1
    text.layer_types = ["full_attention"] * 2
    text.rope_parameters["mrope_section"] = [2, 3, 3]
    audio.d_model, audio.encoder_layers, audio.encoder_attention_heads, audio.encoder_ffn_dim = 16, 1, 2, 16
    torch.manual_seed(seed)
    model = StreamingThinker(config)
    with torch.no_grad():
        model.ctrl_embed.normal_()
        model.model.language_model.embed_tokens.weight.normal_()
    return model


def stage(**changes: object) -> StageConfig:
    """A stage of a few steps."""
    base = {"name": "test", "trainable": ALL, "learning_rate": 1e-2, "steps": 6, "effective_batch": 2, "micro_batch": 2}
    return StageConfig.model_validate(base | {"save_every": 2, "log_every": 1} | changes)


def save_pico(folder: Path, source: MadeCorpus) -> Path:
    """Save a checkpoint with the vocabulary of a corpus."""
    pico(text_ids(source)).save(folder)
    return folder
