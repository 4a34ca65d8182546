"""The same parts under Ray Data, over many machines. Videos and the set's folder must be on storage they all see."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

from talkies.data.parts import Helpers, PartJob, prepare_part
from talkies.data.report import Row
from talkies.domain.errors import InputError, MissingDependencyError

#: Starts a small Ray on this machine instead of joining a cluster.
HERE = "here"
#: Bytes of its object store: only rows travel.
_STORE = 100_000_000


class RayWorkers:
    """Runs parts as tasks of Ray Data, one processor each.

    Args:
        address: Of the cluster, as in `auto` or `ray://head:10001`, or `here`.
        workers: Tasks at the same time.

    Raises:
        MissingDependencyError: Ray is not installed.
    """

    def __init__(self, address: str = "auto", workers: int = 2) -> None:
        try:
            import ray.data  # noqa: F401
        except ImportError as error:
            raise MissingDependencyError(f"Ray Data needs {error.name}.", "pip install 'talkies[ray]'") from None
        self._address, self._workers = address, workers

    def __call__(self, jobs: Sequence[PartJob], helpers: Helpers) -> Iterator[list[Row]]:
        """Rows of every part as it is done.

        Raises:
            InputError: There is no cluster at the address.
        """
        if not jobs:
            return
        import ray
        import ray.data

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options: dict[str, Any] = {"address": self._address}
        if self._address == HERE:
            options = {
                "address": "local",
                "num_cpus": self._workers,
                "include_dashboard": False,
                "object_store_memory": _STORE,
            }
        try:
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"There is no Ray at {self._address}: {reason}", f"Start one, or --ray {HERE}.") from None
        try:
            ray.data.DataContext.get_current().enable_progress_bars = False
            items = [{"job": job.model_dump_json()} for job in jobs]
            parts = ray.data.from_items(items, override_num_blocks=len(items))
            made = parts.map(
                make_part,  # type: ignore[arg-type]  # its second argument is in fn_kwargs
                fn_kwargs={"helpers": helpers},
                num_cpus=1,
                concurrency=self._workers,
            )
            for row in made.iter_rows():
                yield [Row.model_validate(value) for value in json.loads(row["rows"])]
        finally:
            ray.shutdown()


def make_part(item: dict[str, Any], helpers: Helpers) -> dict[str, Any]:
    """One part, from JSON to JSON: what Ray Data maps over the parts."""
    rows = prepare_part(PartJob.model_validate_json(item["job"]), helpers)
    return {"rows": json.dumps([row.model_dump() for row in rows])}
