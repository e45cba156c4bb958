"""The streaming thinker: the thinker of Qwen2.5-Omni without vision, whose control tokens have a small parameter of their own.

The parent's `forward` is not used. This class provides the steps of a stream: chunks to audio embeddings, vocabulary rows and
audio to one sequence (paper, Algorithm 2), the sequence to hidden states, hidden states to logits. With audio and text only, the
three rows of M-RoPE positions are equal, which is the language model's default.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration, initialization
from transformers.utils import logging

from soundflow.model.checkpoint_files import DAMAGED_REMEDY, check_checkpoint, checkpoint_files
from soundflow.model.device import Placement
from soundflow.model.presets import preset
from soundflow.model.seats import SeatedPass
from soundflow.model.vocabulary import AUDIO_ROW, StreamingConfig, Vocabulary
from soundflow.schemas.atomic_file import reset_mode
from soundflow.schemas.base import InputError
from soundflow.schemas.checksums import write_sums
from soundflow.schemas.tokens import FIRST_FREE_ROW

NEW_ROW_SPREAD: Final = 0.02
"""Standard deviation of the noise in new rows, relative to that of the existing rows."""


class StreamingThinker(Qwen2_5OmniThinkerForConditionalGeneration):  # type: ignore[misc]
    """A thinker that decides once per chunk. Its checkpoint is an ordinary transformers directory.

    The parameter `ctrl_embed` (controls, hidden) embeds the control tokens. AdamW's weight decay changes every row of a
    parameter, so rows that train while the others are frozen cannot be part of `embed_tokens`. Saving copies them there.
    """

    def __init__(self, config: Qwen2_5OmniThinkerConfig):
        super().__init__(config)
        if not isinstance(getattr(config, "soundflow", None), dict):
            why = "the configuration is not that of a streaming model"
            raise InputError(why, field="soundflow", remedy="Convert the checkpoint with StreamingThinker.adapt")
        self.model.visual = None
        self.streaming = StreamingConfig.model_validate(config.soundflow)
        self.vocabulary = Vocabulary.of(self.streaming)
        controls = torch.from_numpy(self.vocabulary.control_rows.copy())
        self.control_rows = nn.Buffer(controls, persistent=False)
        width = config.text_config.hidden_size
        self.ctrl_embed = nn.Parameter(torch.zeros(len(controls), width))  # any device
        self.silent_row = self.vocabulary.row(self.vocabulary.layout.silent)
        self.response_row = self.vocabulary.row(self.vocabulary.layout.response)
        self.checkpoint_audio = False

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise what no checkpoint holds; loading creates the model on the meta device first."""
        super()._init_weights(module)
        if module is self:
            initialization.copy_(self.control_rows, torch.from_numpy(self.vocabulary.control_rows.copy()))
            initialization.zeros_(self.ctrl_embed)

    @classmethod
    def from_scratch(cls, name: str, streaming: StreamingConfig, seed: int = 0) -> Self:
        """Create the preset `name` with random weights, fan-in scaled to unit variance.

        Measured: this learns where the usual standard deviation of 0.02 stays on the plateau.
        """
        model = cls(preset(name, streaming))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.Linear | nn.Conv1d):
                    fan_in = module.weight[0].numel()
                    module.weight.normal_(0.0, fan_in**-0.5, generator=generator)
                    if module.bias is not None:
                        module.bias.zero_()
            model.model.language_model.embed_tokens.weight.normal_(generator=generator)
            model.ctrl_embed.normal_(generator=generator)
        return model

    @classmethod
    def adapt(cls, source: str | Path, streaming: StreamingConfig, seed: int = 0, **options: Any) -> Self:
        """Convert a Qwen2.5-Omni checkpoint (directory or hub id) to a streaming model with control tokens and an untied LM head.

        `options` are passed to `from_pretrained` (dtype, device_map, attn_implementation). Use `load` for checkpoints of `save`.
        """
        if Path(source).is_dir():  # not a hub id
            check_checkpoint(Path(source))
        with _no_bars():
            stock = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(source, use_safetensors=True, **options)
        stock.config.soundflow = streaming.model_dump(mode="json")
        with torch.device("meta"):  # the parts come from the stock model, which reads every older naming of parameters
            model = cls(stock.config)
        stock.model.visual = None
        model.model, model.lm_head = stock.model, stock.lm_head
        embedding = stock.model.language_model.embed_tokens.weight
        controls = torch.from_numpy(model.vocabulary.control_rows.copy())
        model.control_rows = nn.Buffer(controls.to(embedding.device), persistent=False)
        model.ctrl_embed = nn.Parameter(embedding.new_zeros(model.ctrl_embed.shape))
        if model.lm_head.weight is embedding:
            model.untie()
        model.begin_controls(seed)
        return model

    @classmethod
    def load(cls, directory: str | Path, placement: Placement = Placement(), **options: Any) -> Self:  # noqa: B008 (frozen)
        """Load a checkpoint written by `save` to a device; only safetensors and JSON are read, which execute no code.

        Raises InputError for a directory that is not a checkpoint, or with a file that its `SHA256SUMS` contradicts or omits.
        """
        check_checkpoint(Path(directory))
        options |= {"output_loading_info": True, "use_safetensors": True, "dtype": placement.dtype}
        try:
            with _no_bars():
                model, found = cls.from_pretrained(directory, **options)
        except (SafetensorError, OSError) as error:
            why = f"the checkpoint is damaged: {type(error).__name__}: {error}"
            raise InputError(why, file=directory, remedy=DAMAGED_REMEDY) from None
        lost = sorted([*found["missing_keys"], *(str(key) for key in found["mismatched_keys"])])
        if lost:
            why = "the checkpoint is damaged: parameters are missing or have another shape"
            raise InputError(why, file=directory, value=lost[:3], remedy=DAMAGED_REMEDY)
        loaded: Self = model.to(placement.device)
        return loaded

    def save(self, directory: str | Path, state: dict[str, Tensor] | None = None) -> None:
        """Write config.json, safetensors and SHA256SUMS, readable by the stock class (without a vision encoder). Raises OSError.

        `state` holds the parameters if they are sharded over processes and were gathered.
        """
        state = dict(self.state_dict() if state is None else state)
        name = next(name for name, value in self.named_parameters() if value is self.model.language_model.embed_tokens.weight)
        state[name] = state[name].clone()
        state[name][self.control_rows] = state["ctrl_embed"].to(state[name])
        try:
            with _no_bars():
                self.save_pretrained(directory, state_dict=state)
            files = checkpoint_files(Path(directory))
            for path in files:
                reset_mode(path)  # safetensors creates files for their owner alone
            write_sums(Path(directory), (path.name for path in files))
        except SafetensorError as error:  # its own type for errors of the system such as a full disk
            raise OSError(errno.EIO, f"the model could not be written: {error}", str(directory)) from None

    def untie(self) -> None:
        """Give the LM head a copy of the embedding, so that each can be frozen separately."""
        self.lm_head.weight = nn.Parameter(self.model.language_model.embed_tokens.weight.detach().clone())
        self.config.tie_word_embeddings = self.config.text_config.tie_word_embeddings = False

    def begin_controls(self, seed: int = 0) -> None:
        """Initialise the control tokens: ids in use keep their rows, free ids start at the mean of all rows plus noise."""
        generator = torch.Generator().manual_seed(seed)
        embedding = self.model.language_model.embed_tokens.weight
        new = self.control_rows >= FIRST_FREE_ROW
        with torch.no_grad():
            self.ctrl_embed.copy_(embedding[self.control_rows])
            for rows, source in ((self.ctrl_embed, embedding), (self.lm_head.weight, self.lm_head.weight)):
                known = source[:FIRST_FREE_ROW].float()
                noise = torch.randn(int(new.sum()), known.shape[1], generator=generator, device="cpu").to(known)
                fresh = known.mean(0) + NEW_ROW_SPREAD * known.std(0) * noise
                rows[new if rows is self.ctrl_embed else self.control_rows[new]] = fresh.to(rows.dtype)

    def encode_chunks(self, mel: Tensor) -> Tensor:
        """Encode log-mel chunks (N, 128, frames) to audio embeddings (N, slots, hidden), each chunk independently.

        Equals the audio tower with one entry of `feature_lens` per chunk, computed as one batch.
        """
        tower = self.model.audio_tower
        hidden = functional.gelu(tower.conv1(mel.to(tower.conv1.weight.dtype)))
        hidden = functional.gelu(tower.conv2(hidden)).transpose(1, 2)
        hidden = hidden + tower.positional_embedding(hidden.shape[1]).to(hidden.dtype)
        for layer in tower.layers:
            if self.checkpoint_audio and torch.is_grad_enabled():
                hidden = checkpoint(_encoder_layer, layer, hidden, use_reentrant=False)
            else:
                hidden = _encoder_layer(layer, hidden)
        pooled = (hidden[:, 0::2] + hidden[:, 1::2]) / 2
        features: Tensor = tower.proj(tower.ln_post(pooled))
        return features

    def embed(self, rows: Tensor, audio: Tensor | None = None) -> Tensor:
        """Embed int64 rows (B, L) to (B, L, hidden).

        `audio` (N, slots, hidden) fills the N * slots positions that hold AUDIO_ROW, in the order of the batch.
        """
        at = torch.searchsorted(self.control_rows, rows).clamp_(max=len(self.control_rows) - 1)
        control = self.control_rows[at] == rows
        is_audio = rows == AUDIO_ROW
        text = self.model.language_model.embed_tokens(rows.masked_fill(control | is_audio, 0))
        controls = functional.embedding(at, self.ctrl_embed)  # the gradient of indexing is summed in arbitrary order by threads
        embeddings = torch.where(control[..., None], controls.to(text.dtype), text)
        if audio is None:
            return embeddings
        return embeddings.masked_scatter(is_audio[..., None], audio.to(text.dtype))

    def hidden(self, embeddings: Tensor, cache: SeatedPass | None = None, positions: Tensor | None = None) -> Tensor:
        """Return causal hidden states (B, L, hidden) of right-padded embeddings (B, L, hidden); extend `cache`, if given.

        `positions` (4, 1, L) separate packed sequences: text positions, then the three rows of M-RoPE. Without the first row,
        sequences attend to each other.
        """
        context = {} if cache is None else {"attention_mask": cache.mask, "cache": cache}
        positions = positions if cache is None else cache.positions
        states: Tensor = self.model.language_model(
            inputs_embeds=embeddings, position_ids=positions, use_cache=cache is not None, **context
        ).last_hidden_state
        return states

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits (..., rows) of hidden states (..., hidden). Expensive: select the positions first."""
        scores: Tensor = self.lm_head(hidden)
        return scores

    def control_logits(self, hidden: Tensor) -> Tensor:
        """Return only the logits (..., 2) of <silent> and <response>."""
        return functional.linear(hidden, self.lm_head.weight[[self.silent_row, self.response_row]])


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    """Hide the progress bars that transformers shows for every file."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _encoder_layer(layer: Any, hidden: Tensor) -> Tensor:
    """Apply one layer of the audio encoder to chunks (N, frames, width), with full attention within each chunk."""
    attention = layer.self_attn
    normed = layer.self_attn_layer_norm(hidden)
    query, key, value = (
        projection(normed).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    mixed = functional.scaled_dot_product_attention(query, key, value, scale=attention.scaling)
    hidden = hidden + attention.out_proj(mixed.transpose(1, 2).flatten(2))
    inner = layer.activation_fn(layer.fc1(layer.final_layer_norm(hidden)))
    out: Tensor = hidden + layer.fc2(inner)
    return out
