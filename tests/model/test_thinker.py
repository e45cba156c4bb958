"""The streaming thinker: independent chunks, control tokens of their own, ordinary checkpoints."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch
from transformers import Qwen2_5OmniThinkerForConditionalGeneration

from soundflow.model.checkpoint_files import checkpoint_files
from soundflow.model.presets import preset
from soundflow.model.thinker import StreamingThinker
from soundflow.model.vocabulary import AUDIO_ROW, StreamingConfig
from soundflow.schemas.base import InputError
from soundflow.schemas.checksums import write_sums
from soundflow.schemas.tokens import AUTHORS, SOUNDFLOW


def mel(chunks: int, frames: int = 40) -> torch.Tensor:
    return torch.randn(chunks, 128, frames, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def test_chunks_are_encoded_as_by_the_audio_tower_one_by_one(thinker: StreamingThinker) -> None:
    chunks = mel(6)
    lengths = torch.tensor([40] * 6)
    joined = chunks.permute(1, 0, 2).reshape(128, -1)
    theirs = thinker.model.audio_tower(joined, feature_lens=lengths, aftercnn_lens=lengths // 2).last_hidden_state
    ours = thinker.encode_chunks(chunks)
    assert ours.shape == (6, 10, 128)
    torch.testing.assert_close(ours.flatten(0, 1), theirs, atol=1e-6, rtol=0)


@torch.no_grad()
def test_chunks_are_encoded_independently(thinker: StreamingThinker) -> None:
    chunks = mel(6)
    torch.testing.assert_close(thinker.encode_chunks(chunks)[2:4], thinker.encode_chunks(chunks[2:4]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("frames", [20, 60, 80])
@torch.no_grad()
def test_other_chunk_sizes_have_their_slots(thinker: StreamingThinker, frames: int) -> None:
    assert thinker.encode_chunks(mel(2, frames)).shape == (2, frames // 4, 128)


def test_gradients_of_control_tokens_do_not_depend_on_the_order_of_threads(thinker: StreamingThinker) -> None:
    rows = torch.tensor([5, thinker.silent_row, thinker.response_row, thinker.silent_row]).repeat(8, 256)
    weight = torch.randn(8, 1024, 128, generator=torch.Generator().manual_seed(3))
    torch.set_num_threads(4)
    try:
        found = [torch.autograd.grad((thinker.embed(rows) * weight).sum(), thinker.ctrl_embed)[0] for _ in range(20)]
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(one, found[0]) for one in found)


@torch.no_grad()
def test_text_control_tokens_and_audio_are_embedded_from_their_own_tables(thinker: StreamingThinker) -> None:
    audio = thinker.encode_chunks(mel(3))
    silent, response = thinker.silent_row, thinker.response_row
    rows = torch.tensor([[5, *[AUDIO_ROW] * 10, silent, *[AUDIO_ROW] * 10], [7, *[AUDIO_ROW] * 10, response, *[9] * 10]])
    embedded = thinker.embed(rows, audio)
    table = thinker.model.language_model.embed_tokens.weight
    assert torch.equal(embedded[0, 0], table[5]) and torch.equal(embedded[1, -1], table[9])
    assert torch.equal(embedded[0, 1:11], audio[0]) and torch.equal(embedded[0, 12:], audio[1])
    assert torch.equal(embedded[1, 1:11], audio[2])
    controls = thinker.control_rows.tolist()
    assert torch.equal(embedded[0, 11], thinker.ctrl_embed[controls.index(silent)])
    assert torch.equal(embedded[1, 11], thinker.ctrl_embed[controls.index(response)])


@torch.no_grad()
def test_padding_on_the_right_changes_nothing_before_it(thinker: StreamingThinker) -> None:
    rows = torch.tensor([[5, 7, 9, 11]])
    padded = torch.tensor([[5, 7, 9, 11, 0, 0, 0]])
    alone = thinker.hidden(thinker.embed(rows))
    torch.testing.assert_close(thinker.hidden(thinker.embed(padded))[:, :4], alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_control_logits_are_two_of_all_logits(thinker: StreamingThinker) -> None:
    hidden = torch.randn(4, 128)
    both = thinker.logits(hidden)[:, [thinker.silent_row, thinker.response_row]]
    torch.testing.assert_close(thinker.control_logits(hidden), both)


def test_a_checkpoint_comes_back_and_is_an_ordinary_one(thinker: StreamingThinker, tmp_path: Path) -> None:
    thinker.save(tmp_path)
    loaded = StreamingThinker.load(tmp_path)
    assert loaded.streaming == thinker.streaming and torch.equal(loaded.control_rows, thinker.control_rows)
    saved = dict(thinker.state_dict())
    saved["model.language_model.embed_tokens.weight"] = saved["model.language_model.embed_tokens.weight"].clone()
    saved["model.language_model.embed_tokens.weight"][thinker.control_rows] = thinker.ctrl_embed.detach()
    assert all(torch.equal(value, saved[name]) for name, value in loaded.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(loaded.eval().encode_chunks(mel(2)), thinker.encode_chunks(mel(2)), rtol=0, atol=0)
    stock = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(tmp_path)
    assert torch.equal(stock.model.language_model.embed_tokens.weight[thinker.control_rows], thinker.ctrl_embed)
    assert torch.equal(stock.lm_head.weight, thinker.lm_head.weight)


def stock_checkpoint(folder: Path, tied: bool) -> Qwen2_5OmniThinkerForConditionalGeneration:
    config = preset("3b", StreamingConfig(layout="soundflow/1"))
    shapes = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
    }
    for name, value in (shapes | {"tie_word_embeddings": tied}).items():
        setattr(config.text_config, name, value)
    config.text_config.rope_parameters["mrope_section"] = [4, 6, 6]
    config.text_config.layer_types = ["full_attention"]
    for name, value in {
        "d_model": 32,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "output_dim": 32,
    }.items():
        setattr(config.audio_config, name, value)
    config.vision_config.out_hidden_size = 32
    config.tie_word_embeddings = tied
    del config.soundflow
    stock = Qwen2_5OmniThinkerForConditionalGeneration(config)
    stock.save_pretrained(folder)
    return stock


@pytest.mark.parametrize("tied", [False, True])
def test_an_adapted_base_checkpoint_keeps_its_text_embeddings(tmp_path: Path, tied: bool) -> None:
    stock = stock_checkpoint(tmp_path / "base", tied)
    model = StreamingThinker.adapt(tmp_path / "base", StreamingConfig(layout="soundflow/1"))
    known = slice(0, 151_643)
    embedding = stock.model.language_model.embed_tokens.weight
    assert torch.equal(model.model.language_model.embed_tokens.weight[known], embedding[known])
    assert torch.equal(model.lm_head.weight[known], stock.lm_head.weight[known])
    assert model.lm_head.weight is not model.model.language_model.embed_tokens.weight
    assert model.control_rows.tolist() == sorted(SOUNDFLOW.control_ids())
    assert len({tuple(row) for row in model.ctrl_embed.tolist()}) == len(model.control_rows)
    model.save(tmp_path / "ours")
    again = StreamingThinker.load(tmp_path / "ours")
    assert torch.equal(again.ctrl_embed, model.ctrl_embed) and torch.equal(again.lm_head.weight, model.lm_head.weight)


def test_control_tokens_that_are_ordinary_ids_start_with_their_embeddings(tmp_path: Path) -> None:
    stock = stock_checkpoint(tmp_path, tied=False)
    model = StreamingThinker.adapt(tmp_path, StreamingConfig(layout="authors/1"))
    row = model.control_rows.tolist().index(AUTHORS.silent)
    assert torch.equal(model.ctrl_embed[row], stock.model.language_model.embed_tokens.weight[AUTHORS.silent])


def test_a_folder_that_is_no_checkpoint_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a checkpoint"):
        StreamingThinker.load(tmp_path)


def test_a_checkpoint_with_a_lost_parameter_is_reported(thinker: StreamingThinker, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    thinker.save(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    del tensors["lm_head.weight"]
    save_file(tensors, file, {"format": "pt"})
    write_sums(tmp_path, (path.name for path in checkpoint_files(tmp_path)))
    with pytest.raises(InputError, match=r"parameters are missing .*lm_head.weight"):
        StreamingThinker.load(tmp_path)


def test_an_unknown_preset_is_reported() -> None:
    with pytest.raises(InputError, match="Presets: nano, tiny, 3b"):
        preset("7b", StreamingConfig(layout="soundflow/1"))


def test_small_models_have_their_documented_sizes() -> None:
    config = StreamingConfig(layout="soundflow/1", text_ids=())
    sizes = {name: sum(p.numel() for p in StreamingThinker.from_scratch(name, config).parameters()) for name in ("nano", "tiny")}
    assert 0.9e6 < sizes["nano"] < 1.2e6 and 2.5e6 < sizes["tiny"] < 4e6, sizes


@pytest.mark.parametrize("bytes_left", [0, 5000, None])
def test_a_truncated_file_of_weights_is_reported_with_its_checkpoint(
    thinker: StreamingThinker, tmp_path: Path, bytes_left: int | None
) -> None:
    checkpoint = tmp_path / "model"
    thinker.save(checkpoint)
    weights = checkpoint / "model.safetensors"
    if bytes_left is None:
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:bytes_left])
    with pytest.raises(InputError, match=f"{weights}: the checkpoint is damaged"):
        StreamingThinker.load(checkpoint)
    write_sums(checkpoint, (path.name for path in checkpoint_files(checkpoint)))
    with pytest.raises(InputError, match=f"{checkpoint}: the checkpoint is damaged"):
        StreamingThinker.load(checkpoint)


@pytest.mark.parametrize("unlisted", ["config.json", "model.safetensors", "model.safetensors.index.json"])
def test_a_file_that_the_sums_do_not_list_is_rejected(thinker: StreamingThinker, tmp_path: Path, unlisted: str) -> None:
    thinker.save(tmp_path)
    sums = tmp_path / "SHA256SUMS"
    sums.write_text("".join(line for line in sums.read_text().splitlines(True) if not line.endswith(f"  {unlisted}\n")))
    (tmp_path / unlisted).touch()
    with pytest.raises(InputError, match=f"{tmp_path / unlisted}: is not listed in SHA256SUMS.*sha256sum"):
        StreamingThinker.load(tmp_path)


def test_a_streaming_model_without_sums_is_rejected_until_its_files_are_listed(thinker: StreamingThinker, tmp_path: Path) -> None:
    model = tmp_path / "my model"
    thinker.save(model)
    (model / "README.md").write_text("Other files need not be listed.")
    (model / "._model.safetensors").write_text("nor those of macOS")
    StreamingThinker.load(model)
    (model / "SHA256SUMS").unlink()
    for load in (StreamingThinker.load, lambda path: StreamingThinker.adapt(path, StreamingConfig(layout="soundflow/1"))):
        with pytest.raises(InputError, match=r"my model: the checkpoint has no SHA256SUMS") as error:
            load(model)
    command = str(error.value).rsplit("list them: ", 1)[1]
    subprocess.run(["sh", "-c", command.strip("` .")], check=True)
    StreamingThinker.load(model)
