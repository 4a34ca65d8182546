"""CPU time of the service's commonest answers, in this process: what a machine can serve, whatever else it does.

python benchmarks/service_speed.py
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests" / "jobs"))

from queue_cases import insert
from talkies.jobs.store import JobStore, Limits
from talkies.serving.app import create_app
from talkies.serving.settings import ModelInfo, ServiceSettings


async def ask(app: Any, path: str, query: bytes = b"") -> int:
    """One GET request; returns the bytes answered."""
    size = 0
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": query,
        "headers": [(b"host", b"localhost")], "scheme": "http", "root_path": "", "server": ("localhost", 80),
        "client": ("127.0.0.1", 1), "http_version": "1.1",
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal size
        assert message.get("status", 200) == 200, message
        size += len(message.get("body", b""))

    await app(scope, receive, send)
    return size


async def main() -> None:
    """Prints milliseconds of CPU per answer."""
    with tempfile.TemporaryDirectory() as folder:
        store = JobStore(Path(folder), Limits(free_bytes=0))
        insert(store, 10_000)
        app = create_app(ServiceSettings((ModelInfo("tiny"),)), store)
        job = store.list(limit=1)[0].id
        for name, path, query, count in (
            ("one video", f"/v1/videos/{job}", b"", 300),
            ("20 of 10,000", "/v1/videos", b"", 50),
            ("100 of 10,000", "/v1/videos", b"limit=100", 20),
        ):
            await ask(app, path, query)
            start = time.process_time()
            for _ in range(count):
                await ask(app, path, query)
            print(f"{name:16}{1000 * (time.process_time() - start) / count:8.2f} ms")


if __name__ == "__main__":
    asyncio.run(main())
