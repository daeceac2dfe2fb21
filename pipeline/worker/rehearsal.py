"""Loads an engine in a process of its own, to find out whether it may be loaded in this one."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import msgspec

from dscsnet.engines.errors import ModelError
from dscsnet.pipeline.config import NodeConfig
from dscsnet.pipeline.process.children import environment

#: A compiler that has to start from nothing needs most of a minute on a busy machine.
LONGEST_S = 600.0
#: It must not take the processor from the frames.
NICENESS = 10
COMMAND = (sys.executable, "-P", "-m", "dscsnet.pipeline", "check", "-c", "/dev/stdin")


def rehearse(config: NodeConfig, give_up: threading.Event) -> None:
    """Run `dscsnet check` on a configuration, and wait for it.

    A runtime that crashes, hangs or takes all memory takes only that process with it. What has to
    be compiled is compiled there and found in the cache afterwards: compiled here, it would
    keep the interpreter from the frames.

    Args:
        give_up: ends the wait, and the process, when set.

    Raises:
        ModelError: the engine cannot be loaded; with the reason that `check` gave.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=output,
            env=environment(),
        )
        try:
            os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
            assert process.stdin is not None, "a pipe was asked for"
            with process.stdin as pipe:
                pipe.write(msgspec.yaml.encode(config))
            code = _wait(process, give_up)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        words = output.read().decode(errors="replace").strip().splitlines()
    if code < 0:
        raise ModelError(f"engine: loading it ended with {signal.Signals(-code).name}")
    if code > 0:
        reason = words[-1].removeprefix("dscsnet: ") if words else f"engine: exit code {code}"
        raise ModelError(reason)


def _wait(process: subprocess.Popen[bytes], give_up: threading.Event) -> int:
    deadline = time.monotonic() + LONGEST_S
    while (code := process.poll()) is None:
        if give_up.wait(0.05):
            raise ModelError("engine: the node stops")
        if time.monotonic() > deadline:
            raise ModelError(f"engine: loading it took more than {LONGEST_S:g} s")
    return code
