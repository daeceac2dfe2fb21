"""Threads have names that are seen from outside."""

import threading
from pathlib import Path

from dscsnet.pipeline.process.threads import name_thread


def test_the_kernel_knows_a_threads_name() -> None:
    seen: list[str] = []

    def run() -> None:
        name_thread()
        seen.append(Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text().strip())

    thread = threading.Thread(target=run, name="intake")
    thread.start()
    thread.join()
    assert seen == ["intake"]
