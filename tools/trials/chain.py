"""A node between a camera and a detector, processes all, with a listener in this one."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from dscsnet.engines.errors import DscsnetError
from dscsnet.pipeline.config import (
    Batching,
    EngineSettings,
    Http,
    Inputs,
    Join,
    NodeConfig,
    Output,
    Overload,
)
from dscsnet.pipeline.recording.settings import Recording
from dscsnet.pipeline.sockets import Channel
from dscsnet.tools.bench.engine import BENCH_PSF_SIGMA
from dscsnet.tools.host.process_info import Process
from dscsnet.tools.host.processes import Programs, free_ports
from dscsnet.tools.trials.listener import Arrival, Listener
from dscsnet.tools.trials.peers import Camera, Detector, Peer, Subscriber

#: Programs may take that long to start where no compiled loops are kept yet.
START_S = 180.0
FLOW_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a chain is made of.

    Attributes:
        rate_hz: of the camera; None: as fast as frames are taken.
        life_frames, jump_s: see `Camera`.
        empty_every, missing_every: see `Detector`.
        record: whether the node records, to `Chain.recording`.
        node: further sections of the node's configuration.
        module: what is run as the node.
    """

    mode: Literal["live", "lossless"] = "live"
    shape: tuple[int, int] = (128, 160)
    candidates: int = 5
    rate_hz: float | None = 20.0
    life_frames: int = 0
    jump_s: float = 0.0
    empty_every: int = 0
    missing_every: int = 0
    model: str = "field-mlp"
    max_age_ms: float = Overload().max_age_ms
    record: bool = False
    node: dict[str, Any] = field(default_factory=dict)
    module: str = "dscsnet.pipeline"


class Chain:
    """Starts the programs on free ports of this machine, and ends them with its block.

    Args:
        folder: for configurations and logs.

    Attributes:
        listener: of all that the node publishes.
        config: of the node.
        recording: file that the node records to, if it does.
    """

    def __init__(self, folder: Path, setting: Setting = Setting()) -> None:
        self.setting, self._folder = setting, folder
        self.recording = folder / "run.mcap"
        frames, copies, detections, targets, http = free_ports(5)
        self._names: dict[str, str] = {}  # of the program that plays a part now
        self._starts = 0
        self._frames = _channel(frames, bind=True)
        self._copies, self._detections = (
            _channel(copies, bind=True),
            _channel(detections, bind=True),
        )
        # The listener is to be sent everything, also where the machine has no time for it.
        self.config = self._node_config(_channel(targets, bind=True, depth=100_000), http)
        self.listener = Listener(_channel(targets, bind=False, depth=1_000_000))
        self.config_file = folder / "node.yaml"
        self._stack = contextlib.ExitStack()

    def _node_config(self, targets: Channel, http: int) -> NodeConfig:
        chosen = self.setting
        sections: dict[str, Any] = {
            "name": "trial",
            "inputs": Inputs(
                frames=_channel(self._frames.endpoint, bind=False, depth=16),
                detections=_channel(self._detections.endpoint, bind=False, depth=256),
            ),
            "output": Output(targets=targets, expected_subscribers=1, wait_s=60),
            "join": Join(timeout_ms=10_000 if chosen.mode == "lossless" else 50),
            "overload": Overload(mode=chosen.mode, max_age_ms=chosen.max_age_ms),
            # No larger than what the check at the start runs: the runtime keeps the memory of its
            # largest batch, which may come late.
            "batch": Batching(max_crops=64),
            "engine": EngineSettings(model=chosen.model, threads=1, psf_sigma=BENCH_PSF_SIGMA),
            "http": Http(port=http),
        }
        if chosen.record:
            # One file, so that its size is that of the recording.
            sections["record"] = Recording(file=str(self.recording), segment_s=0, segment_mib=0)
        return NodeConfig(**{**sections, **chosen.node})

    def __enter__(self) -> Self:
        """Start all, and wait until frames flow."""
        # Entered first, left last: it listens until nobody speaks any more.
        self._stack.enter_context(self.listener)
        self._programs = self._stack.enter_context(Programs(self._folder))
        try:
            self.start_node()
            self.start_detector()
            self.start_camera()
            self.await_flow()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """End all."""
        self._stack.close()

    @property
    def node(self) -> Process:
        """The node's process."""
        return Process(self.pid("node"))

    def pid(self, part: str) -> int:
        """Process id of who plays a part."""
        return self._programs.pid(self._names[part])

    def log(self, part: str) -> str:
        """What it wrote."""
        return self._programs.log(self._names[part]).read_text(errors="replace")

    def signal(self, part: str, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid(part), number)

    @contextlib.contextmanager
    def stopped(self, part: str) -> Iterator[None]:
        """SIGSTOP, and SIGCONT after the block."""
        self.signal(part, signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(part, signal.SIGCONT)

    def kill(self, part: str) -> None:
        """kill -9."""
        self._programs.kill(self._names[part])

    def wait(self, part: str) -> None:
        """Wait until one that was asked to end has; it must exit with 0."""
        self._programs.wait(self._names[part])

    def terminate(self, part: str) -> None:
        """SIGTERM; it must exit with 0."""
        self._programs.terminate(self._names[part])

    def write_config(self, config: NodeConfig) -> None:
        """Put another configuration in the node's file."""
        self.config_file.write_bytes(msgspec.yaml.encode(config))

    def start_node(self) -> None:
        """Start the node, or another one in its place."""
        self.write_config(self.config)
        self._start("node", self.setting.module, "node", "-c", str(self.config_file))

    def start_camera(self, *, rate_hz: float | None = None) -> None:
        """Start the camera; at its usual rate unless another is given."""
        chosen = self.setting
        self._start_peer(
            "camera",
            Camera(
                endpoints=(self._frames, self._copies),
                shape=chosen.shape,
                candidates=chosen.candidates,
                rate_hz=rate_hz or chosen.rate_hz,
                lossless=chosen.mode == "lossless",
                life_frames=chosen.life_frames,
                jump_s=chosen.jump_s,
            ),
        )

    def start_detector(self) -> None:
        """Start the detector."""
        chosen = self.setting
        self._start_peer(
            "detector",
            Detector(
                frames=_channel(self._copies.endpoint, bind=False),
                detections=self._detections,
                shape=chosen.shape,
                candidates=chosen.candidates,
                lossless=chosen.mode == "lossless",
                empty_every=chosen.empty_every,
                missing_every=chosen.missing_every,
            ),
        )

    def start_subscriber(self, depth: int = 64) -> None:
        """Start one more reader of targets."""
        endpoint = self.config.output.targets.endpoint
        self._start_peer(
            "subscriber", Subscriber(targets=_channel(endpoint, bind=False, depth=depth))
        )

    def _start_peer(self, part: str, peer: Peer) -> None:
        self._start(part, "dscsnet.tools.trials.peers", msgspec.json.encode(peer).decode())

    def _start(self, part: str, module: str, *arguments: str) -> None:
        self._starts += 1
        self._names[part] = f"{part}-{self._starts}"
        self._programs.start(self._names[part], module, *arguments)

    def said_ns(self, part: str, what: str = "up") -> int:
        """When a peer said that its sockets are open (`up`) or `first`; waits for it."""
        found: list[str] = []

        def said() -> bool:
            found[:] = re.findall(rf"^{what} (\d+)$", self.log(part), re.MULTILINE)
            return bool(found)

        self.wait_for(said, START_S, f'the {part} to say "{what}"')
        return int(found[0])

    def wait_for(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Wait for a condition.

        Raises:
            DscsnetError: it was not met in time, or a program failed meanwhile.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            # Who ends with exit code 0 was asked to.
            self._programs.check(may_end=self._names.values())
            if time.monotonic() > deadline:
                raise DscsnetError(f"waited {seconds:g} s in vain for {what}")
            time.sleep(0.01)

    def await_flow(self, since_ns: int | None = None, **wanted: object) -> Arrival:
        """The first frame unmixed after a moment (default: now); see `Listener.first_ok`."""
        start = time.monotonic_ns() if since_ns is None else since_ns
        found: list[Arrival | None] = [None]

        def flows() -> bool:
            found[0] = self.listener.first_ok(start, **wanted)
            return found[0] is not None

        self.wait_for(flows, START_S, "frames to flow")
        assert found[0] is not None, "that was waited for"
        return found[0]

    def await_heartbeats(self, number: int = 1) -> dict[str, Any]:
        """The newest of so many further heartbeats."""
        seen = len(self.listener.beats)
        latest = time.monotonic_ns()
        self.wait_for(
            lambda: sum(at > latest for at, _ in list(self.listener.beats)) >= number,
            FLOW_S + number,
            f"{number} heartbeats after {seen}",
        )
        return self.listener.last

    def await_rest(self) -> dict[str, Any]:
        """The first heartbeat with nothing pending that the listener's count agrees with."""

        def at_rest() -> bool:
            last = self.await_heartbeats()
            answered = sum(self.listener.life.statuses.values())
            return last["pending"] == 0 and last["published"] == answered

        self.wait_for(at_rest, FLOW_S, "the node's books to be closed")
        return self.listener.last


def _channel(place: int | str, *, bind: bool, depth: int = 64) -> Channel:
    endpoint = f"tcp://127.0.0.1:{place}" if isinstance(place, int) else place
    return Channel(endpoint, bind=bind, high_water_mark=depth)
