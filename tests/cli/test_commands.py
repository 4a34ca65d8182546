"""The command as a whole: it starts light, its schema is published, the doctor looks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from command_line import Talkies
from talkies.cli.schema import conversation_schema

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT.parent / "shared" / "examples"


def test_starting_loads_nothing_heavy() -> None:
    code = (
        "import sys, talkies.cli.main\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'numpy', 'av', 'PIL', 'pydantic', 'scipy', 'c2pa'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_published_schema_is_the_code() -> None:
    published = ROOT / "docs" / "conversation.schema.json"
    assert published.read_text(encoding="utf-8") == conversation_schema() + "\n", (
        "write it anew: talkies schema > docs/conversation.schema.json"
    )


def test_the_schema_is_printed(talkies: Talkies) -> None:
    result = talkies("schema")
    assert result.code == 0
    assert set(json.loads(result.out)["required"]) == {"image", "speakers"}


def test_the_doctor_looks_everywhere(talkies: Talkies) -> None:
    result = talkies("doctor", "--json")
    assert result.code in (0, 1)
    sections = json.loads(result.out)
    assert {"Software", "Devices", "Models", "Optional"} <= set(sections)
    assert any(what.startswith("cpu: ") for _, what, _ in sections["Devices"])
    for rows in sections.values():
        for state, _, mend in rows:
            assert state in ("ok", "--", "!!")
            assert mend or state == "ok"


def test_the_version(talkies: Talkies) -> None:
    assert talkies("--version").out.startswith("talkies ")


@pytest.mark.skipif(not EXAMPLES.exists(), reason="the example photographs (../shared/examples) are not here")
def test_people_are_drawn(here: Path, talkies: Talkies) -> None:
    Image.open(EXAMPLES / "photo-two" / "photo.png").resize((640, 360)).save("two.png")
    result = talkies("people", "two.png")
    assert result.code == 0, result.err
    assert [line.split()[0] for line in result.out.splitlines()] == ["1", "2"]
    assert Image.open(here / "two.people.png").size == (640, 360)
