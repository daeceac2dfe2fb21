"""The threads that take joined frames, have them unmixed and hand in the answers."""

import contextlib
import threading
import time

from dscsnet.pipeline.join import Joiner, Ticket
from dscsnet.pipeline.worker.pool import WorkerSlot

#: How long a thread waits for frames before it looks whether it is to end.
ROUND_S = 0.2


class Crew:
    """What each of these threads does: `run`.

    One of them at a time waits for frames; once it has some, the next one does. So batches are
    taken one after another, each with the engine of that moment: no later frame of a stream is
    given to an older engine.
    """

    def __init__(self, joiner: Joiner, slot: WorkerSlot) -> None:
        self._joiner, self._slot = joiner, slot
        self._turn = threading.Lock()
        self._acting_since: dict[int, float] = {}

    def run(self, give_up: threading.Event) -> None:
        """Answer frames until the input is closed and all is out, or `give_up` is set."""
        thread = threading.get_ident()
        while not self._joiner.drained() and not give_up.is_set():
            self._answer_one_batch(thread)
            self._acting_since.pop(thread, None)

    def silent_s(self) -> float:
        """For how long the slowest thread has waited for frames or for its engine, s."""
        since = list(self._acting_since.values())
        return time.monotonic() - min(since) if since else 0.0

    def _answer_one_batch(self, thread: int) -> None:
        with contextlib.ExitStack() as stack:
            with self._turn:
                self._acting_since[thread] = time.monotonic()
                tickets = self._take()
                if not tickets:
                    return
                worker = stack.enter_context(self._slot.claimed())
            self._acting_since[thread] = time.monotonic()
            worker.process(tickets, self._joiner.finish)

    def _take(self) -> list[Ticket]:
        if self._joiner.drained():
            return []
        idle = self._slot.wait_for_idle(ROUND_S)
        return self._joiner.take(ROUND_S, among=idle) if idle else []
