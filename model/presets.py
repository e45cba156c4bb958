"""Model configurations: `nano` and `tiny` to train from scratch, and the shapes of Qwen2.5-Omni-3B.

The vision encoder is never built. A thinker's configuration must describe one, so the smallest possible is given.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from transformers import Qwen2_5OmniThinkerConfig

from soundflow.model.vocabulary import StreamingConfig, Vocabulary
from soundflow.schemas.base import InputError
from soundflow.schemas.suggest import did_you_mean

_NO_VISION: Final = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "fullatt_block_indexes": [0]}

PRESETS: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "nano": {  # 1.0 M parameters plus 256 per row of the vocabulary: for training on a CPU
        "text": {
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 6, 6]},
        },
        "audio": {"d_model": 96, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 256},
    },
    "tiny": {  # 3.5 M parameters
        "text": {
            "hidden_size": 192,
            "intermediate_size": 576,
            "num_hidden_layers": 6,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 6, 6]},
        },
        "audio": {"d_model": 160, "encoder_layers": 3, "encoder_attention_heads": 4, "encoder_ffn_dim": 480},
    },
    "3b": {  # the thinker of Qwen2.5-Omni-3B; its weights come from a checkpoint
        "text": {
            "vocab_size": 151_936,
            "hidden_size": 2048,
            "intermediate_size": 11_008,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": [16, 24, 24]},
        },
        "audio": {},
    },
}


def check_preset(name: str) -> None:
    """Raise InputError, with the presets there are, unless `name` is one."""
    if name not in PRESETS:
        remedy = f"{did_you_mean(name, PRESETS)} Presets: {', '.join(PRESETS)}; or name a checkpoint".strip()
        raise InputError("unknown model", field="model", value=name, remedy=remedy)


def preset(name: str, streaming: StreamingConfig) -> Qwen2_5OmniThinkerConfig:
    """Return the configuration `name` with the vocabulary of `streaming`.

    Small presets require `text_ids`, and `3b` rejects them. Raises InputError otherwise, and for an unknown name.
    """
    check_preset(name)
    text, audio = copy.deepcopy(dict(PRESETS[name]["text"])), dict(PRESETS[name]["audio"])
    rows = Vocabulary.of(streaming).compact_rows
    if (rows is None) != ("vocab_size" in text):
        why = f"{name} uses every Qwen id as its own row" if rows is not None else f"{name} requires text_ids"
        raise InputError(why, field="text_ids", remedy="Set text_ids for nano and tiny only")
    text |= {"tie_word_embeddings": False, "use_cache": True} | ({} if rows is None else {"vocab_size": rows})
    hidden = text["hidden_size"]
    config = Qwen2_5OmniThinkerConfig(
        text_config=text,
        audio_config=audio | {"output_dim": hidden},
        vision_config=_NO_VISION | {"out_hidden_size": hidden},
        tie_word_embeddings=False,
    )
    config.soundflow = streaming.model_dump(mode="json")
    return config
