"""The small model's words: a tokenizer learnt from the stage's captions, and a small umT5 that begins by reading them.

A text encoder that is trained along from nothing stays mute: what a prompt says about heads is a small part of a
video model's loss, and random features do not help to find it. So the encoder first learns to tell who does what from
captions alone, which takes minutes; then it is trained along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import nn
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"


def train_tokenizer(texts: Iterable[str], vocab_size: int = 1536, max_length: int = 96) -> PreTrainedTokenizerFast:
    """A byte-pair tokenizer with `<pad>` as 0 and `</s>` behind every text, as umT5's.

    Every byte is in its alphabet: text in any script has tokens, if not understanding.

    Args:
        texts: What it is learnt from.
        vocab_size: Entries, the 256 bytes included.
        max_length: Longest prompt in tokens; longer ones are cut.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, END, UNKNOWN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        model_max_length=max_length,
    )


class TextRecipe(BaseModel):
    """How the text encoder learns to read.

    Attributes:
        tokenizer: Folder. output: Folder for the encoder, in transformers' layout.
        config: Arguments of `UMT5Config` for a new one.
        start: Folder of one that reads better from now on.
        length: Tokens of a prompt. steps, batch_size, learning_rate: Of AdamW, with a linear decay.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tracks: list[Path]
    tokenizer: Path
    output: Path
    config: dict[str, Any] = Field(default_factory=dict)
    start: Path | None = None
    length: int = 96
    steps: int = 2500
    batch_size: int = 48
    learning_rate: float = 2e-3
    seed: int = 0
    threads: int = 1


class StatementReader(nn.Module):
    """One query for every statement, over the tokens of a caption: as the video will read it, by attention.

    Args:
        dim: Channels of a token.
        statements: How many are told true or false.
    """

    def __init__(self, dim: int, statements: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(statements, dim) / dim**0.5)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.weight = nn.Parameter(torch.randn(statements, dim) / dim**0.5)
        self.bias = nn.Parameter(torch.zeros(statements))

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits `[B, statements]` of tokens `[B, L, dim]`, of which those of `mask [B, L]` count."""
        query = self.query.expand(len(hidden), -1, -1)
        seen = F.scaled_dot_product_attention(query, self.key(hidden), self.value(hidden), mask[:, None])
        return (seen * self.weight).sum(-1) + self.bias


#: Draws a caption, and what it says: `[A]` of 0 and 1, NaN where it says nothing of it.
DrawCaption = Callable[[np.random.Generator], tuple[str, NDArray[np.float32]]]


def train_text_encoder(
    recipe: TextRecipe, draw: DrawCaption, say: Callable[[str], None] = print
) -> tuple[UMT5EncoderModel, float]:
    """Trains, saves, and tells how often unseen captions are read rightly (of all statements that hold).

    Args:
        recipe: Everything that decides the run.
        draw: Gives captions without end.
        say: Told how it goes.
    """
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(recipe.tokenizer)
    if recipe.start is None:
        encoder = UMT5EncoderModel(UMT5Config(**recipe.config))
    else:
        encoder = UMT5EncoderModel.from_pretrained(recipe.start, dtype=torch.float32)
    rng = np.random.default_rng(recipe.seed)
    head = StatementReader(encoder.config.d_model, len(draw(rng)[1]))
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, recipe.learning_rate, weight_decay=0.01)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        texts, truths = zip(*(draw(rng) for _ in range(recipe.batch_size)), strict=True)
        ids = tokenizer(list(texts), padding="max_length", truncation=True, max_length=recipe.length)["input_ids"]
        return torch.tensor(ids), torch.from_numpy(np.stack(truths))

    def read(ids: torch.Tensor) -> torch.Tensor:
        mask = (ids != 0).long()
        return head(encoder(input_ids=ids, attention_mask=mask).last_hidden_state, mask.bool())

    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min(1.0, (step + 1) / 50) * (1 - step / recipe.steps)
        ids, truth = batch()
        said = ~truth.isnan()
        loss = F.binary_cross_entropy_with_logits(read(ids)[said], truth[said])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if (step + 1) % 250 == 0:
            say(f"step {step + 1} of {recipe.steps}: loss {loss.item():.4f}")
    with torch.no_grad():
        ids, truth = (torch.cat(parts) for parts in zip(*(batch() for _ in range(8)), strict=True))
        found = read(ids) > 0
    share = float(found[truth == 1].float().mean())
    encoder.save_pretrained(recipe.output)
    return encoder, share
