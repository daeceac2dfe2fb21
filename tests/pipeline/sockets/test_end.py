"""Waits of sockets: what is left, in slices."""

from types import SimpleNamespace

import pytest
import zmq

from dscsnet.pipeline.errors import ChannelError
from dscsnet.pipeline.sockets import Channel, Receiver, Sender
from dscsnet.pipeline.sockets import end as end_module
from dscsnet.pipeline.sockets.end import SLICE_MS, deadline_after, milliseconds_left, wait_slice


def test_what_is_left_of_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(end_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    assert milliseconds_left(None) == -1
    assert deadline_after(-1) is None
    deadline = deadline_after(1500)
    assert deadline == 101.5
    for now, left in ((100.0, 1500), (101.4996, 0), (101.498, 2), (101.5, 0), (200.0, 0)):
        clock[0] = now
        assert milliseconds_left(deadline) == left
    assert deadline_after(0) == 200.0  # at once is an end, too


@pytest.mark.parametrize(
    ("left", "expected"),
    [(-1, SLICE_MS), (0, 0), (1, 1), (SLICE_MS, SLICE_MS), (SLICE_MS + 1, SLICE_MS)],
)
def test_no_wait_is_longer_than_a_slice(left: int, expected: int) -> None:
    assert wait_slice(left) == expected


@pytest.mark.parametrize("end", [Sender, Receiver])
def test_no_end_opens_in_a_context_that_is_over(end: type[Sender | Receiver]) -> None:
    context = zmq.Context()
    context.term()
    with pytest.raises(ChannelError, match=r"^cannot open inproc://a: "):
        end(Channel("inproc://a", bind=True), context=context)


@pytest.mark.parametrize(
    ("endpoint", "bind", "kept"),
    [
        *(("tcp://127.0.0.1:9", False, True), ("tcp://127.0.0.1:*", True, False)),
        *(("inproc://a", False, False), ("inproc://a", True, False)),
    ],
)
def test_only_a_connection_to_elsewhere_is_kept(endpoint: str, bind: bool, kept: bool) -> None:
    with zmq.Context() as context, Receiver(Channel(endpoint, bind=bind), context=context) as end:
        assert (end._keeper is not None) == kept
        assert not end.renew_connection()
