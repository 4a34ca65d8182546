"""Where the user's own settings, keys and consent are kept."""

from __future__ import annotations

import os
from pathlib import Path


def config_folder() -> Path:
    """`$TALKIES_HOME`, else `talkies` in `$XDG_CONFIG_HOME`, else `~/.config/talkies`. It need not exist."""
    own = os.environ.get("TALKIES_HOME")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".config") / "talkies"
