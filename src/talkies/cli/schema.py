"""`talkies schema`: the JSON Schema of conversation files."""

from __future__ import annotations

import typer


def conversation_schema() -> str:
    """The schema as text; `docs/conversation.schema.json` holds the same."""
    import json

    from talkies.domain.conversation import Conversation

    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Conversation.model_json_schema()}
    # Nameless speakers are numbered, so a name is not required.
    speaker = schema["$defs"]["Speaker"]
    speaker["required"] = [name for name in speaker.get("required", []) if name != "name"]
    if not speaker["required"]:
        del speaker["required"]
    return json.dumps(schema, indent=2, ensure_ascii=False)


def schema() -> None:
    """Print the JSON Schema of conversation files, for editors that check while you type."""
    typer.echo(conversation_schema())
