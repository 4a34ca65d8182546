"""The queue's SQLite file: its schema, and one connection per thread."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from talkies.domain.errors import InputError

_VERSION = 1
_SCHEMA = """
CREATE TABLE jobs (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of arrival
    id          TEXT NOT NULL UNIQUE,
    owner       TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    task        TEXT NOT NULL,
    created     REAL NOT NULL,
    started     REAL,
    finished    REAL,
    expires     REAL,
    progress    REAL NOT NULL DEFAULT 0,
    doing       TEXT NOT NULL DEFAULT '',
    seconds     REAL,
    size        TEXT,
    error_code  TEXT,
    error       TEXT,
    attempts    INTEGER NOT NULL DEFAULT 0,         -- times taken: the fencing token of the lease
    losses      INTEGER NOT NULL DEFAULT 0,         -- workers lost with it since it last got further
    cancelling  INTEGER NOT NULL DEFAULT 0,
    worker      TEXT,
    lease       REAL,                               -- until when the worker's word holds
    idempotency TEXT,
    fingerprint TEXT
) STRICT;
CREATE INDEX jobs_waiting ON jobs (number) WHERE state = 'queued';
CREATE INDEX jobs_leased ON jobs (lease) WHERE state = 'running';
CREATE INDEX jobs_of_owner ON jobs (owner, number);
CREATE INDEX jobs_active ON jobs (owner) WHERE state IN ('queued', 'running');
CREATE INDEX jobs_expiring ON jobs (expires) WHERE expires IS NOT NULL;
CREATE UNIQUE INDEX jobs_once ON jobs (owner, idempotency) WHERE idempotency IS NOT NULL;
"""


class Database:
    """Connections to one SQLite file in write-ahead mode: readers never wait, writers wait for each other.

    Args:
        path: The file; made when it is not there.

    Raises:
        InputError: It cannot be opened, or a newer version of the program made it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        try:
            version = self._migrate()
        except sqlite3.Error as error:
            raise InputError(f"The queue {path} cannot be opened: {error}.") from None
        if version > _VERSION:
            raise InputError(f"The queue {path} was made by a newer version of talkies.", "Upgrade this one.")

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's own."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # what was acknowledged survives a power cut
            self._local.connection = connection
        return connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start; undone when the block raises."""
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def close(self) -> None:
        """Closes this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def _migrate(self) -> int:
        with self.write() as connection:
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    if statement.strip():
                        connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
                return _VERSION
        return version
