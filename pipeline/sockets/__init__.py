"""Channels between the programs of the chain: a sender and a receiver of messages over ZeroMQ.

`pubsub` is live: whoever subscribes gets a copy, and a slow subscriber loses messages unless the
sender is lossless. `pushpull` loses nothing while its peers live: each message goes to one of
them and the sender waits when none can take it. What was queued for a peer that dies is gone.
"""

from dscsnet.pipeline.sockets.channel import Channel
from dscsnet.pipeline.sockets.end import Tap
from dscsnet.pipeline.sockets.receiver import Receiver
from dscsnet.pipeline.sockets.sender import Sender

__all__ = ["Channel", "Receiver", "Sender", "Tap"]
