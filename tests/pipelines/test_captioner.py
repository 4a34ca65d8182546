"""Captions by a tiny Qwen2.5-VL of real parts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from talkies.domain.errors import InputError, TalkiesError
from talkies.pipelines import captioner

SPECIAL = ["<pad>", "<unk>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
WORDS = ["a", "man", "and", "woman", "talk", "in", "car", "left", "right", "smiles"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("qwen")
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    named = {"pad_token": SPECIAL[0], "unk_token": SPECIAL[1], "additional_special_tokens": SPECIAL[2:]}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    fast.save_pretrained(path)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(vocabulary), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 1, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
            "rope_scaling": {"type": "default", "mrope_section": [1, 1, 2]},
        },
        vision_config={
            "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
            "fullatt_block_indexes": [0], "window_size": 112,
        },
        image_token_id=vocabulary["<|image_pad|>"],
        vision_start_token_id=vocabulary["<|vision_start|>"],
        vision_end_token_id=vocabulary["<|vision_end|>"],
        video_token_id=len(vocabulary) - 1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config)
    # An untrained model might end at once: of the words some score above 0, of the special tokens none.
    model.lm_head.weight.data[: len(SPECIAL)] = 0
    model.save_pretrained(path)
    (path / "preprocessor_config.json").write_text(
        '{"image_processor_type": "Qwen2VLImageProcessor", "merge_size": 2, "patch_size": 14, "temporal_patch_size": 2,'
        ' "size": {"shortest_edge": 3136, "longest_edge": 100352}}'
    )
    return path


def test_a_picture_is_described(folder: Path) -> None:
    found = captioner.find_captioner(str(folder))
    assert found is not None
    picture = Image.linear_gradient("L").resize((200, 120))
    caption = found.caption(picture, "The person on the left is talking.")
    assert caption
    assert set(caption.split()) <= set(WORDS)
    assert caption == found.caption(picture, "The person on the left is talking.")


def test_the_one_named_must_be_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="no captioning model"):
        captioner.find_captioner(str(tmp_path / "none"))
    monkeypatch.setenv(captioner.VARIABLE, str(folder))
    assert captioner.find_captioner() == captioner.Captioner(folder)


def test_a_damaged_one_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(TalkiesError, match="failed"):
        captioner.Captioner(tmp_path).caption(Image.new("RGB", (64, 64)), "")
