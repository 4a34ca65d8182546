"""API keys: a file of their hashes, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from talkies.domain.errors import InputError
from talkies.media.staging import staged

_PREFIX = "sk-talkies-"


@dataclass(frozen=True)
class Key:
    """A key as it is kept: without the key.

    Attributes:
        id: Whose jobs are; stays when the name changes.
        name: For people.
        sha256: Of the key. Keys are 256 random bits, so a fast hash is as good as a slow one.
        created: Unix seconds.
    """

    id: str
    name: str
    sha256: str
    created: int


class Keys:
    """The keys in a file, read again whenever it changes: a removed key is refused at once.

    Args:
        path: The file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._keys: tuple[Key, ...] = ()

    def all(self) -> tuple[Key, ...]:
        """All keys.

        Raises:
            InputError: The file is damaged.
        """
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return ()
        stamp = (status.st_mtime_ns, status.st_ino)
        with self._lock:
            if stamp != self._stamp:
                try:
                    entries = json.loads(self.path.read_text(encoding="utf-8"))
                    self._keys = tuple(Key(**entry) for entry in entries)
                except (ValueError, TypeError):
                    raise InputError(f"The file of keys {self.path} is damaged.") from None
                self._stamp = stamp
            return self._keys

    def add(self, name: str) -> str:
        """Makes a key; the only time it can be seen.

        Raises:
            InputError: The name is taken or unusable.
        """
        if not re.fullmatch(r"[\w.@-]{1,60}", name):
            raise InputError(f"A key cannot be called {name[:60]!r}.", "Letters, digits and . @ _ - will do.")
        if any(key.name == name for key in self.all()):
            raise InputError(f"There is a key called {name!r} already.")
        secret = _PREFIX + secrets.token_urlsafe(32)
        self._write((*self.all(), Key(f"key_{secrets.token_hex(8)}", name, _hash(secret), int(time.time()))))
        return secret

    def remove(self, name: str) -> None:
        """Forgets a key.

        Raises:
            InputError: There is none of this name.
        """
        left = tuple(key for key in self.all() if key.name != name)
        if len(left) == len(self.all()):
            raise InputError(f"There is no key called {name[:60]!r}.")
        self._write(left)

    def owner(self, secret: str) -> str | None:
        """Id of the key, None if there is no such key. Every kept key is looked at, whatever the outcome."""
        wanted = _hash(secret)
        found = None
        for key in self.all():
            if hmac.compare_digest(key.sha256, wanted):
                found = key.id
        return found

    def _write(self, keys: tuple[Key, ...]) -> None:
        with staged(self.path) as temporary:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump([asdict(key) for key in keys], file, indent=2)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
