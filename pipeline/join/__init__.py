"""Frames and detections joined by key; every key is accounted for until it is published."""

from dscsnet.pipeline.join.deadlines import DETECTIONS, FRAMES
from dscsnet.pipeline.join.joiner import Due, Joiner
from dscsnet.pipeline.join.ledger import Ledger
from dscsnet.pipeline.join.tickets import Ticket

__all__ = ["DETECTIONS", "FRAMES", "Due", "Joiner", "Ledger", "Ticket"]
