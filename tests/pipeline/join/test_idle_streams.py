"""What a stream holds in which nothing waits any more."""

import gc
import weakref
from typing import Any

from dscsnet.pipeline.worker import plain_answer
from tests.pipeline.join.test_joiner import ENGINE, Clock, detections, frame, make_joiner


def test_an_idle_stream_holds_no_pixels_and_no_answers() -> None:
    """Also those of frames that were dropped while the engine was busy with another stream."""
    joiner = make_joiner(Clock(), max_frames=4)
    seen: list[weakref.ref[Any]] = []
    for frame_id in range(40):
        sent = frame(frame_id)
        seen.append(weakref.ref(sent.pixels))
        joiner.offer(sent)
        joiner.offer(detections(frame_id))
        del sent
        published = joiner.due(0)
    assert joiner.ledger.drops == {"window": 36}
    for ticket in joiner.take(0):
        joiner.finish(ticket, plain_answer(ticket, "ok", "", ENGINE))
        del ticket
    published = joiner.due(0)
    assert len(published) == 4
    gc.collect()
    assert [ref for ref in seen if ref() is not None] == []
    (stream,) = joiner._streams.values()
    assert not stream.ready
    assert not list(stream.tickets())
    assert joiner._ready._ages == []
