"""Run this machine's programs: many at once, none left behind, and a failure says what was run and why it failed."""

import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from kakoi.errors import KakoiError


class Teller(Protocol):
    """A step that is under way; ``tell`` shows what it waits for."""

    def tell(self, note: str) -> None:
        """Show a short note."""


type Progress = Callable[[str], AbstractContextManager[Teller]]
"""Opens a step with a title (Japanese and English); ``kakoi.cli.progress.step`` with a console is one."""

_ROUND_SECONDS, _GRACE_SECONDS = 0.1, 3.0
_running: set[subprocess.Popen[str]] = set()
_running_lock = threading.Lock()


class CommandError(KakoiError):
    """A program of this machine failed."""


def run(
    *arguments: str,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    dies_with_us: bool = False,
    remedy: str = "",
) -> str:
    """Run a program to its end and return what it printed.

    Args:
        arguments: The program and its arguments; no shell reads them.
        stdin: Text for its standard input; nothing otherwise.
        environment: Variables added to ours.
        directory: Working directory.
        dies_with_us: The kernel kills it, and whatever it started, when this process goes without a word (SIGKILL).
        remedy: What to do if it fails.

    Raises:
        CommandError: it could not be started or its exit status was not 0.
    """
    status, output, errors = run_anyhow(
        *arguments, stdin=stdin, environment=environment, directory=directory, dies_with_us=dies_with_us
    )
    if status != 0:
        said = (errors.strip() or output.strip() or "it said nothing").splitlines()[-15:]
        raise CommandError(f"`{shlex.join(arguments)}` failed ({status}):\n    " + "\n    ".join(said), remedy)
    return output


def run_anyhow(
    *arguments: str,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    dies_with_us: bool = False,
) -> tuple[int, str, str]:
    """Run a program; return exit status (127: there is no such program), output and errors."""
    command = list(arguments)
    if dies_with_us:
        # A PID namespace of its own: when its first process goes, the kernel ends all others and undoes their mounts.
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--mount-proc", "--fork"]
        command += ["--kill-child=KILL", "--", *arguments]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
            cwd=directory,
        )
    except FileNotFoundError:
        return 127, "", f"there is no program {command[0]}"
    with _running_lock:
        _running.add(process)
    try:
        output, errors = process.communicate(stdin)
    finally:
        with _running_lock:
            _running.discard(process)
    return process.returncode, output, errors


def in_parallel[Key, Result](
    work: Mapping[Key, Callable[[], Result]], workers: int, done: Callable[[Key], None] = lambda _: None
) -> dict[Key, Result]:
    """Do all pieces of work at once, ``workers`` at a time. The first failure, or Control-C, stops the rest.

    Args:
        work: What to do, by a key of the caller's.
        workers: How many threads.
        done: Called with the key of each piece that has ended well.
    """
    if not work:
        return {}
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = {pool.submit(piece): key for key, piece in work.items()}
        try:
            results: dict[Key, Result] = {}
            for future in as_completed(futures):
                results[futures[future]] = future.result()
                done(futures[future])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            _end_running(futures)
            raise
    return {key: results[key] for key in work}


def _end_running(futures: Collection[Future[Any]]) -> None:
    """End every program until no piece of work goes on; a piece may start its next one in between."""
    started = time.monotonic()
    while wait(futures, timeout=_ROUND_SECONDS).not_done:
        with _running_lock:
            for process in _running:
                if time.monotonic() - started < _GRACE_SECONDS:
                    process.terminate()
                else:
                    process.kill()


@contextmanager
def locked(path: Path, wait_seconds: float, busy: str) -> Iterator[None]:
    """Hold a lock file; the kernel lets go of it however this process ends.

    Raises:
        KakoiError: somebody else held it for longer than ``wait_seconds``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it before may have removed the file: then this is a lock that nobody else will see.
            if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
                break
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise KakoiError(busy, "wait until it has ended, then run this again") from None
        os.close(descriptor)
        time.sleep(0.05)
    try:
        yield
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Remove a folder of ours, never crossing into a file system that is mounted below it."""
    if path.exists():
        # Not through run(): cleaning up goes on while everything else is being ended.
        subprocess.run(["rm", "-rf", "--one-file-system", "--", path], check=True)


def write_private(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a whole file or nothing, with exactly this mode from its first moment."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
    temporary.replace(path)


def missing_programs(programs: Iterable[str]) -> tuple[str, ...]:
    """Those programs that are not on the path."""
    return tuple(program for program in programs if shutil.which(program) is None)


def processes() -> Iterator[tuple[int, Sequence[str]]]:
    """Every process of this machine: its id and its arguments."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                arguments = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            yield int(entry.name), arguments.decode("utf-8", "replace").split("\0")[:-1]


def end_processes(matches: Callable[[Sequence[str]], bool], patience_seconds: float) -> None:
    """Let processes end by themselves, then ask them to, then end them."""
    for force in (None, signal.SIGTERM, signal.SIGKILL):
        found = [identity for identity, arguments in processes() if matches(arguments)]
        if force is not None:
            for identity in found:
                try:
                    os.kill(identity, force)
                except ProcessLookupError:
                    continue
        deadline = time.monotonic() + patience_seconds
        while found and time.monotonic() < deadline:
            time.sleep(0.05)
            found = [identity for identity, arguments in processes() if matches(arguments)]
        if not found:
            return
