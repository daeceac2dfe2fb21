"""What publishers do with their sockets, while always ready to stop."""

import threading
import time

from dscsnet.pipeline.messages import Message
from dscsnet.pipeline.sockets.sender import Sender

SLICE_MS = 50  # a blocked publisher looks this often whether it is to stop


def await_peers(sender: Sender, count: int, timeout_s: float, stop: threading.Event) -> int:
    """Wait until peers are there, for a bounded time.

    Args:
        sender: whose peers.
        count: how many to wait for.
        timeout_s: longest wait, s; from 0 down it is looked once.
        stop: ends the wait.

    Returns:
        How many are there.
    """
    deadline, peers = time.monotonic() + timeout_s, 0
    while not stop.is_set():
        left = max(0.0, deadline - time.monotonic())
        peers = sender.wait_for_peers(count, min(left, SLICE_MS / 1000))
        if peers >= count or left == 0:
            break
    return peers


def send(sender: Sender, message: Message, lossless: bool, stop: threading.Event) -> bool:
    """Send a message; lossless, wait until there is room or `stop` is set.

    Returns:
        False if it could not be sent.
    """
    if not lossless:
        return sender.send(message, timeout_ms=0)
    while not sender.send(message, timeout_ms=SLICE_MS):
        if stop.is_set():
            return False
    return True
