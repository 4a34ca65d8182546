"""What the user sees while a command works: notes, a table of the plan, one progress bar over the whole job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console


class Report:
    """Writes to standard error, so that standard output stays free for results.

    Args:
        quiet: Only errors.
    """

    def __init__(self, quiet: bool = False) -> None:
        from rich.console import Console

        self.quiet = quiet
        self._console: Console = Console(stderr=True, highlight=False, quiet=quiet)

    def note(self, text: str) -> None:
        """One line the user should know."""
        self._console.print(f"[yellow]note[/] {_plain(text)}")

    def say(self, text: str) -> None:
        """One line of what is going on."""
        self._console.print(_plain(text))

    def table(self, title: str, rows: list[tuple[str, str]]) -> None:
        """Names and values below each other."""
        from rich.table import Table

        table = Table(
            title=title, title_justify="left", title_style="bold", show_header=False, box=None, padding=(0, 2)
        )
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows:
            table.add_row(name, _plain(value))
        self._console.print(table)

    def preview(self, frames: NDArray[np.uint8]) -> None:
        """Finished frames, `[n, height, width, 3]` RGB; a terminal shows none."""

    @contextmanager
    def progress(self, total: float) -> Iterator[Callable[[float, str], None]]:
        """One bar with the time left; the call it gives takes what is done of `total`, and a word on what."""
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=self._console, disable=self.quiet, speed_estimate_period=600) as progress:
            task = progress.add_task("starting", total=total)

            def update(done: float, what: str) -> None:
                progress.update(task, completed=done, description=what)

            yield update


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
