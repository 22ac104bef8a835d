"""Progress on the terminal: which step, how far, how long; one plain line for each step where it is no terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.status import Status


@dataclass
class Step:
    """One long piece of work that is under way."""

    title: str
    status: Status | None
    note: str = ""

    def tell(self, note: str) -> None:
        """Show what is being waited for right now."""
        self.note = note
        if self.status:
            self.status.update(f"[bold]{self.title}[/]  [dim]{note}[/]")

    def task(self, title: str, finished: int, total: int) -> None:
        """Show a playbook's task (the ``Progress`` of ``kakoi.playbook``)."""
        self.tell(f"{title}  {finished}/{total}" if total else title)


@contextmanager
def step(console: Console, title: str) -> Iterator[Step]:
    """Do one step: shown while it runs, and with its time when it is done. An exception marks it as failed."""
    started = time.monotonic()
    if console.is_terminal:
        with console.status(f"[bold]{title}[/]") as status:
            try:
                yield Step(title, status)
            except BaseException:
                console.print(f"[red]✗[/] {title}")
                raise
    else:
        console.print(f"… {title}")
        yield Step(title, None)
    console.print(f"[green]✓[/] {title} [dim]{time.monotonic() - started:.0f} s[/]")
