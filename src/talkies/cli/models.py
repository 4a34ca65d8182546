"""`talkies models`: which models there are, getting them with sizes shown first, and checking them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

app = typer.Typer(help="List, fetch and check models.", no_args_is_help=True)


@dataclass(frozen=True)
class Part:
    """Files of one repository of the Hugging Face Hub.

    Attributes:
        repo: `owner/name`.
        files: Patterns of what is needed.
        revision: Branch or commit.
    """

    repo: str
    files: tuple[str, ...] = ("*.json", "*.txt", "*.model", "*.safetensors")
    revision: str = "main"


@dataclass(frozen=True)
class Model:
    """Something that can be fetched.

    Attributes:
        name: What to call it.
        purpose: What it is for, in a few words.
        parts: Where its files come from.
        licence: Of the weights.
    """

    name: str
    purpose: str
    parts: tuple[Part, ...]
    licence: str


CATALOGUE = (
    Model(
        "multitalk-14b",
        "the paper's model, 480p and 720p",
        (
            Part("Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", ("*.json", "*.model", "*.txt", "*.safetensors")),
            Part("MeiGen-AI/MeiGen-MultiTalk", ("multitalk.safetensors",)),
            # Its main branch has a pickle file only, which could run code when loaded.
            Part("TencentGameMate/chinese-wav2vec2-base", ("*.json", "model.safetensors"), "refs/pr/1"),
        ),
        "Apache-2.0",
    ),
    Model("captioner", "prompts from pictures (Qwen2.5-VL 7B)", (Part("Qwen/Qwen2.5-VL-7B-Instruct"),), "Apache-2.0"),
)


@app.command("list")
def list_models() -> None:
    """List the models and where they are."""
    from talkies.bundled import NANO
    from talkies.cli.estimate import spell_bytes
    from talkies.cli.model_folder import find_model
    from talkies.domain.errors import InputError

    try:
        folder = find_model(NANO)
        typer.echo(
            f"nano           {'here':8}  {spell_bytes(folder.weight_bytes):>8}  comes with the package  {folder.path}"
        )
    except InputError:
        typer.echo(f"nano           {'missing':8}  {'':>8}  not in this copy of the package")
    for entry in CATALOGUE:
        folders = [cached_folder(part) for part in entry.parts]
        state = "here" if all(folders) else "part" if any(folders) else "missing"
        size = sum(_folder_bytes(path) for path in folders if path is not None)
        typer.echo(
            f"{entry.name:13}  {state:8}  {spell_bytes(size) if size else '':>8}  {entry.purpose} ({entry.licence})"
        )
        for part, path in zip(entry.parts, folders, strict=True):
            typer.echo(f"  {part.repo}  {path or '-'}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A name of the list, or an id of the Hugging Face Hub: owner/name.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    revision: Annotated[str, typer.Option(help="Branch, tag or commit, for an id.")] = "main",
) -> None:
    """Fetch a model: sizes first, then the files; goes on where it stopped; checks what arrived."""
    from talkies.cli.estimate import spell_bytes
    from talkies.domain.errors import InputError

    parts = _parts(name, revision)
    wanted = [(part, _wanted_files(_info(part), part)) for part in parts]
    total = 0
    for part, files in wanted:
        size = sum(size for _, size, _ in files)
        total += size
        typer.echo(f"{part.repo}: {len(files)} files, {spell_bytes(size)}", err=True)
    _check_room(total)
    if not yes and not typer.confirm(f"Fetch {spell_bytes(total)}?", err=True):
        raise InputError("Nothing was fetched.", "Answer y, or add --yes.")
    for part, files in wanted:
        for file, _, sha256 in files:
            path = _download(part, file)
            if sha256 is not None and _digest(path) != sha256:
                path.resolve().unlink()
                raise InputError(f"{part.repo}/{file} arrived damaged and was removed.", "Fetch it again.")
    typer.echo(f"{name} is here.", err=True)


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="A name of the list, a fetched id, or a folder.")],
) -> None:
    """Check the files of a model: complete, readable and, where a hash is known, unchanged."""
    bad = 0
    for path, problem in _verified(name):
        bad += bool(problem)
        typer.echo(f"{'!!' if problem else 'ok'}  {path}{f'  {problem}' if problem else ''}")
    raise typer.Exit(1 if bad else 0)


def _verified(name: str) -> Iterator[tuple[Path, str]]:
    from talkies.bundled import NANO, NANO_FOLDER
    from talkies.domain.errors import InputError

    if name == NANO:
        folders = [NANO_FOLDER]
    elif Path(name).expanduser().is_dir():
        folders = [Path(name).expanduser()]
    else:
        found = [cached_folder(part) for part in _parts(name, "main")]
        if not all(found):
            raise InputError(f"{name} is not (completely) here.", f"Get it first: talkies models fetch {name}")
        folders = [path for path in found if path is not None]
    for folder in folders:
        files = sorted(
            path for path in folder.rglob("*") if path.is_file() and path.suffix in (".safetensors", ".json")
        )
        if not files:
            raise InputError(f"{folder} holds no model files.")
        sums = _sums(folder)
        for path in files:
            yield path, _problem(path, sums.get(path.relative_to(folder).as_posix()))
        for path in missing_files(folder):
            yield path, "missing"


def missing_files(folder: Path) -> list[Path]:
    """What a folder's weight maps (`*.index.json`) and its `SHA256SUMS` name and what is not there."""
    named = {folder / name for name in _sums(folder)}
    for index in folder.rglob("*.index.json"):
        try:
            weights = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue  # no map of weights, or a damaged one, which is told of by itself
        named.update(index.parent / str(name) for name in weights)
    return sorted(path for path in named if not path.exists())


def _sums(folder: Path) -> dict[str, str]:
    """Hashes a folder states itself, in `SHA256SUMS`."""
    path = folder / "SHA256SUMS"
    if not path.is_file():
        return {}
    lines = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines())
    return {entry[1].lstrip("*"): entry[0] for entry in lines if len(entry) == 2}


def _problem(path: Path, expected: str | None) -> str:
    """What is wrong with a file, or an empty string."""
    from safetensors import SafetensorError, safe_open

    from talkies.provenance.record import hub_hash

    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        else:
            with safe_open(path, framework="np") as file:
                file.keys()
    except (OSError, ValueError, SafetensorError) as error:
        return f"damaged: {str(error)[:100]}"
    expected = expected or hub_hash(path)
    return f"changed: its hash is not {expected[:12]}..." if expected and _digest(path) != expected else ""


def _digest(path: Path) -> str:
    from talkies.provenance.record import sha256_of

    return sha256_of(path)


def cached_folder(part: Part) -> Path | None:
    """Folder of a part in the Hub's local cache, if all of its weights are there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(part.repo, revision=part.revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError, ValueError):
        return None
    return folder if any(folder.rglob("*.safetensors")) and not missing_files(folder) else None


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _parts(name: str, revision: str) -> tuple[Part, ...]:
    from talkies.bundled import NANO
    from talkies.domain.errors import InputError

    for entry in CATALOGUE:
        if entry.name == name:
            return entry.parts
    if name == NANO:
        raise InputError(f"{NANO} comes with the package and cannot be fetched.", "Reinstall talkies if it is missing.")
    if name.count("/") != 1 or not all(name.split("/")):
        known = ", ".join(entry.name for entry in CATALOGUE)
        raise InputError(f"There is no model {name!r}.", f"Known: {known}; or an id of the Hub: owner/name.")
    return (Part(name, revision=revision),)


def _info(part: Part) -> ModelInfo:
    """What the Hub says about a repository, sizes and hashes included."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    from talkies.domain.errors import InputError, TalkiesError

    try:
        return HfApi().model_info(part.repo, revision=part.revision, files_metadata=True, timeout=30)
    except (RepositoryNotFoundError, HFValidationError):
        raise InputError(
            f"The Hub has no model {part.repo!r}, or it is private.", "For private ones: hf auth login"
        ) from None
    except _hub_errors() as error:
        raise TalkiesError(f"The Hub cannot be reached for {part.repo}: {_brief(error)}.", "Try again later.") from None


def _wanted_files(info: ModelInfo, part: Part) -> list[tuple[str, int, str | None]]:
    """(name, bytes, SHA-256 where known) of the files to fetch; formats that can run code are never among them."""
    from fnmatch import fnmatch

    from talkies.domain.errors import InputError

    files = []
    for entry in info.siblings or []:
        if any(fnmatch(entry.rfilename, pattern) for pattern in part.files):
            sha256: Any = entry.lfs.sha256 if entry.lfs is not None else None
            files.append((entry.rfilename, int(entry.size or 0), sha256))
    if not any(name.endswith(".safetensors") for name, _, _ in files):
        raise InputError(f"{part.repo} has no weights as .safetensors; other formats can run code and are not fetched.")
    return files


def _check_room(need: int) -> None:
    import shutil

    from huggingface_hub.constants import HF_HUB_CACHE

    from talkies.cli.estimate import spell_bytes
    from talkies.domain.errors import TalkiesError

    folder = Path(HF_HUB_CACHE)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if need > free:
        raise TalkiesError(
            f"{spell_bytes(need)} are needed in {folder}, {spell_bytes(free)} are free.", "Make room, or set HF_HOME."
        )


def _download(part: Part, file: str) -> Path:
    from huggingface_hub import hf_hub_download

    from talkies.domain.errors import TalkiesError

    try:
        return Path(hf_hub_download(part.repo, file, revision=part.revision))
    except _hub_errors() as error:
        raise TalkiesError(
            f"{part.repo}/{file} could not be fetched: {_brief(error)}.", "Run the command again to go on."
        ) from None


def _hub_errors() -> tuple[type[Exception], ...]:
    """What the Hub's client raises. Its HTTP library has had several names; only the one in use is loaded."""
    from huggingface_hub.errors import HfHubHTTPError

    names = (("httpx2", "HTTPError"), ("httpx", "HTTPError"), ("requests", "RequestException"))
    loaded = (getattr(sys.modules.get(module), name, None) for module, name in names)
    return (OSError, HfHubHTTPError, *(kind for kind in loaded if kind is not None))


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:150]
