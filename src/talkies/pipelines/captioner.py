"""A prompt from a picture, by Qwen-VL (as the paper does; supplement, section 1.2), when the model is at hand."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from talkies.domain.errors import InputError, TalkiesError

#: Looked for in this order in the Hub's local cache; any newer Qwen-VL can be named instead.
MODELS = ("Qwen/Qwen3-VL-4B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen2.5-VL-3B-Instruct")
#: Names a folder or an id to use instead.
VARIABLE = "TALKIES_CAPTIONER"

#: Longest side of what the model is shown; more costs memory and tells it nothing new.
_SIDE = 1024
_MAX_TOKENS = 220

#: Qwen-VL's own form of a question about a picture, the same since Qwen2-VL.
_CHAT = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n<|vision_start|>{image}<|vision_end|>{text}<|im_end|>\n<|im_start|>assistant\n"
)
_IMAGE = "<|image_pad|>"

_TEMPLATE = (
    "Describe this picture as the beginning of a video, in one paragraph of at most 120 words, in English. "
    "Say where the scene takes place, what each person looks like and wears, naming each by their position "
    "(on the left, in the middle, on the right), what they do, the light, and the framing of the shot. "
    "In the video: {people} Write it as if it were happening, without speculation, lists or headings."
)


@dataclass(frozen=True)
class Captioner:
    """Describes pictures with a vision-language model.

    Attributes:
        folder: Model folder in transformers' layout.
    """

    folder: Path

    def caption(self, image: Image.Image, people: str) -> str:
        """A prompt for the picture.

        Args:
            image: RGB.
            people: Who does what, in sentences: `The person on the left is talking. ...`

        Raises:
            TalkiesError: The model's folder is damaged, or memory does not suffice.
        """
        import torch
        from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer
        from transformers.utils import logging

        logging.set_verbosity_error()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            # Not AutoProcessor: it would also make a video processor, which needs torchvision.
            tokenizer = AutoTokenizer.from_pretrained(self.folder, **options)
            image_processor = AutoImageProcessor.from_pretrained(self.folder, **options)
            model: Any = AutoModelForImageTextToText.from_pretrained(
                self.folder, use_safetensors=True, dtype="auto", **options
            )
            model.to(device)
            shown = image.convert("RGB")
            shown.thumbnail((_SIDE, _SIDE))
            vision = image_processor(images=[shown], return_tensors="pt")
            count = int(vision["image_grid_thw"].prod()) // image_processor.merge_size**2
            text = _CHAT.format(image=_IMAGE * count, text=_TEMPLATE.format(people=people))
            tokens = tokenizer(text, return_tensors="pt")["input_ids"]  # [1, L]
            with torch.inference_mode():
                answer = model.generate(
                    input_ids=tokens.to(device),
                    attention_mask=torch.ones_like(tokens).to(device),
                    mm_token_type_ids=(tokens == tokenizer.convert_tokens_to_ids(_IMAGE)).int().to(device),
                    pixel_values=vision["pixel_values"].to(device, model.dtype),
                    image_grid_thw=vision["image_grid_thw"].to(device),
                    max_new_tokens=_MAX_TOKENS,
                    do_sample=False,
                )  # [1, L + answer]
            caption = str(tokenizer.decode(answer[0, tokens.shape[1] :], skip_special_tokens=True))
        except (OSError, ValueError, KeyError, RuntimeError, ImportError, MemoryError) as error:
            reason = " ".join(str(error).split())[:200]
            raise TalkiesError(f"The captioning model in {self.folder} failed: {reason}", "Give a --prompt.") from error
        if not caption.strip():
            raise TalkiesError(f"The captioning model in {self.folder} said nothing.", "Give a --prompt.")
        return _one_paragraph(caption)


def _one_paragraph(text: Any) -> str:
    return " ".join(str(text).split())[:2000]


def find_captioner(name: str | None = None) -> Captioner | None:
    """The captioning model at hand.

    Args:
        name: Folder or Hub id; None takes what `TALKIES_CAPTIONER` names, else the first known one in the cache.

    Returns:
        None if none was named and none is here.

    Raises:
        InputError: The one that was named is not here.
    """
    named = name or os.environ.get(VARIABLE)
    for candidate in (named,) if named else MODELS:
        folder = Path(candidate).expanduser()
        found = folder if folder.is_dir() else _cached(candidate)
        if found is not None and (found / "config.json").is_file():
            return Captioner(found)
    if named:
        raise InputError(
            f"There is no captioning model {named!r} here.", "Get it first: talkies models fetch captioner"
        )
    return None


def _cached(name: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError, ValueError):
        return None
