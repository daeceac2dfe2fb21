"""Programs of the chain as child processes that stand and fall together."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Self

from dscsnet.engines.errors import DscsnetError, one_line
from dscsnet.pipeline.process.children import environment

STOP_S = 10.0  # the node promises 5 s; more where the machine is busy
KILL_S = 5.0
SHOWN_LINES = 5


class ProgramError(DscsnetError):
    """A child process failed; the message names it and ends with the last lines of its log."""

    def __str__(self) -> str:
        return "\n".join(one_line(line) for line in Exception.__str__(self).splitlines())


class Programs:
    """Child processes by name, each with a log file.

    A context manager: however its block is left, no process is left behind. The children share
    the terminal's process group, so that closing the terminal ends them, too.

    Args:
        folder: where the logs go, as `<name>.log`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Stop whatever still runs, by force if need be."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(KILL_S)
            process.kill()
            process.wait()

    def start(self, name: str, module: str, *arguments: str) -> None:
        """Start `python -m <module> <arguments>` on this interpreter, output to its log.

        Raises:
            ProgramError: the log cannot be written or the process not be started.
        """
        # -P: a folder that happens to be called like ours, where the user stands, is not ours.
        command = [sys.executable, "-P", "-m", module, *arguments]
        try:
            with self.log(name).open("wb") as log:
                self._running[name] = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment(),
                )
        except OSError as error:
            raise ProgramError(f"the {name} cannot be started: {error}") from None

    def pid(self, name: str) -> int:
        """Return the process id of a program that was started and not stopped."""
        return self._running[name].pid

    def kill(self, name: str) -> None:
        """End a program by force, and wait until it is gone."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def terminate(self, name: str) -> None:
        """Ask a program to end, and wait until it has; it must exit with 0."""
        self._running[name].terminate()
        self._leave(name)

    def log(self, name: str) -> Path:
        """Return the log file of a program."""
        return self._folder / f"{name}.log"

    def cpu_seconds(self, name: str) -> float:
        """Return the processor time that a running program has used, s, all threads together."""
        status = Path(f"/proc/{self._running[name].pid}/stat").read_text()
        user, system = status.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def thread_seconds(self, name: str) -> dict[str, float]:
        """Return the processor time of a running program's threads, s, by their names."""
        total: dict[str, float] = {}
        for task in Path(f"/proc/{self._running[name].pid}/task").iterdir():
            with contextlib.suppress(OSError):  # it may have ended
                thread = (task / "comm").read_text().strip()
                seconds = int((task / "schedstat").read_text().split()[0]) * 1e-9
                total[thread] = total.get(thread, 0.0) + seconds
        return total

    def check(self, may_end: Collection[str] = ()) -> None:
        """Raise ProgramError where one has failed, or ended although it is not in `may_end`."""
        for name, process in self._running.items():
            code = process.poll()
            if code or (code == 0 and name not in may_end):
                raise self.failure(name, f"ended early with exit code {code}")

    def wait(self, name: str) -> None:
        """Wait until a program that ends by itself has; it must exit with 0."""
        self._leave(name)

    def stop(self) -> None:
        """Ask all others to end, together; each must exit with 0."""
        for process in self._running.values():
            process.terminate()
        for name in list(self._running):
            self._leave(name)

    def _leave(self, name: str) -> None:
        process = self._running[name]
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise self.failure(name, f"did not end within {STOP_S:g} s") from None
        del self._running[name]
        if code:
            raise self.failure(name, f"ended with exit code {code}")

    def failure(self, name: str, what: str) -> ProgramError:
        """Return the error that says what went wrong with a program, its last words below."""
        log = self.log(name)
        words = log.read_text(errors="replace").splitlines() if log.is_file() else []
        last = "".join(f"\n  | {line}" for line in words[-SHOWN_LINES:])
        return ProgramError(f"the {name} {what}; its log is {log}{last}")


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return TCP ports that nothing listens on at the moment."""
    with contextlib.ExitStack() as stack:
        # All at once, so that no port is given twice.
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((host, 0))
        return [int(each.getsockname()[1]) for each in sockets]
