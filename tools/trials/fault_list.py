"""The faults that a node must survive."""

import http.client
import itertools
import resource
import signal
import statistics
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import msgspec

from dscsnet.pipeline.config import Batching, EngineSettings
from dscsnet.tools.trials.chain import Chain, Setting
from dscsnet.tools.trials.faults import Deed, Fault

#: Connections that each want a descriptor of the node, no more than wait for being accepted.
CONNECTIONS = 4
#: The overload, over what the engine has time for.
TIMES = 10

#: What is left on the disk.
ROOM_BYTES = 2**20

CLOCK = Setting(jump_s=3600.0, module="dscsnet.tools.trials.wrong_clock")
LIVE = Setting(
    shape=(200, 200), candidates=100, rate_hz=2.0, node={"batch": Batching(max_crops=128)}
)
LOSSLESS = replace(LIVE, mode="lossless")
RECORDED = Setting(record=True)


def kill_camera(chain: Chain, seconds: float) -> Deed:
    """Another camera comes after a while."""
    chain.kill("camera")
    time.sleep(seconds)
    chain.start_camera()
    up = chain.said_ns("camera")
    found = chain.await_flow(up)
    return Deed("answered what it had, waited, took up the new epoch", (found.time_ns - up) / 1e9)


def kill_detector(chain: Chain, seconds: float) -> Deed:
    """Frames go on without candidates."""
    chain.kill("detector")
    time.sleep(seconds)
    chain.start_detector()
    up = chain.said_ns("detector")
    found = chain.await_flow(up, detector=up)
    return Deed("answered the frames as no_detections meanwhile", (found.time_ns - up) / 1e9)


def kill_subscriber(chain: Chain, seconds: float) -> Deed:
    """One of two subscribers is gone and another comes; the listener must not notice."""
    chain.start_subscriber()
    chain.said_ns("subscriber", "first")
    killed = time.monotonic_ns()
    chain.kill("subscriber")
    time.sleep(seconds)
    chain.start_subscriber()
    up = chain.said_ns("subscriber")
    recovery = (chain.said_ns("subscriber", "first") - up) / 1e9
    pause = chain.listener.longest_pause_s(killed)
    chain.kill("subscriber")
    return Deed(f"went on: the other subscriber never waited longer than {pause:.2f} s", recovery)


def stop_camera(chain: Chain, seconds: float) -> Deed:
    """SIGSTOP, SIGCONT."""
    with chain.stopped("camera"):
        time.sleep(seconds)
    resumed = time.monotonic_ns()
    found = chain.await_flow(resumed)
    return Deed("waited", (found.time_ns - resumed) / 1e9)


def stop_detector(chain: Chain, seconds: float) -> Deed:
    """It then sends the candidates of frames that were answered long ago."""
    before = chain.listener.last["unanswered"].get("late", 0)
    with chain.stopped("detector"):
        time.sleep(seconds)
    resumed = time.monotonic_ns()
    found = chain.await_flow(resumed)
    late = chain.await_heartbeats()["unanswered"].get("late", 0) - before
    did = f"answered the frames as no_detections meanwhile; {late} detections came late"
    return Deed(did, (found.time_ns - resumed) / 1e9)


def stop_subscriber(chain: Chain, seconds: float) -> Deed:
    """A subscriber that is there and does not read."""
    chain.start_subscriber(depth=1)
    chain.said_ns("subscriber", "first")
    stopped = time.monotonic_ns()
    with chain.stopped("subscriber"):
        time.sleep(seconds)
        chain.await_flow()
        pause = chain.listener.longest_pause_s(stopped)
    resumed = time.monotonic_ns()
    found = chain.await_flow(resumed)
    chain.kill("subscriber")
    did = f"went on: the other subscriber never waited longer than {pause:.2f} s"
    return Deed(did, (found.time_ns - resumed) / 1e9)


def stop_node(chain: Chain, seconds: float) -> Deed:
    """What the camera sends meanwhile is old when the node goes on."""
    with chain.stopped("node"):
        time.sleep(seconds)
    resumed = time.monotonic_ns()
    found = chain.await_flow(resumed)
    return Deed("dropped what had become too old, and went on", (found.time_ns - resumed) / 1e9)


def kill_node(chain: Chain, seconds: float) -> Deed:
    """Another one is started at once; it counts from its first heartbeat."""
    chain.kill("node")
    # What it had sent still comes.
    time.sleep(max(1.0, seconds))
    chain.listener.begin_life()
    chain.start_node()
    started = time.monotonic_ns()
    found = chain.await_flow(started)
    ready = chain.listener.life.first_ns or found.time_ns
    missed = chain.listener.life.missed
    did = (
        f"started anew within {(ready - started) / 1e9:.1f} s; the {missed} frames of the time "
        "without a node have no answer: the subscriber sees frame_id jump; none came twice"
    )
    return Deed(did, max(0.0, (found.time_ns - ready) / 1e9))


def exhaust_descriptors(chain: Chain, seconds: float) -> Deed:
    """No descriptor is left for anyone who connects; then there are enough again."""
    pid = chain.pid("node")
    usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    limit = chain.node.most_descriptors(0.5)
    processor = chain.node.cpu_s()
    with ExitStack() as stack:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, usual[1]))
        stack.callback(resource.prlimit, pid, resource.RLIMIT_NOFILE, usual)
        began = time.monotonic_ns()
        for _ in range(CONNECTIONS):
            page = http.client.HTTPConnection("127.0.0.1", chain.config.http.port, timeout=5)
            page.connect()
            stack.callback(page.close)
        chain.start_subscriber()
        chain.said_ns("subscriber")
        time.sleep(seconds)
        chain.await_flow()
        pause = chain.listener.longest_pause_s(began)
        share = (chain.node.cpu_s() - processor) / ((time.monotonic_ns() - began) / 1e9)
    lifted = time.monotonic_ns()
    recovery = max(0, chain.said_ns("subscriber", "first") - lifted) / 1e9
    chain.kill("subscriber")
    did = (
        f"went on: its subscriber never waited longer than {pause:.2f} s, {100 * share:.0f} % of a "
        "core; who connected was served afterwards"
    )
    return Deed(did, recovery)


def fill_disk(chain: Chain, seconds: float) -> Deed:
    """The recorder's file cannot grow any more; then there is room again."""
    pid = chain.pid("node")
    usual = resource.prlimit(pid, resource.RLIMIT_FSIZE)

    def recorder() -> dict[str, Any]:
        state: dict[str, Any] = chain.listener.last["recorder"]
        return state

    with ExitStack() as stack:
        full = chain.recording.stat().st_size + ROOM_BYTES
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (full, usual[1]))
        stack.callback(resource.prlimit, pid, resource.RLIMIT_FSIZE, usual)
        began = time.monotonic_ns()
        chain.wait_for(lambda: recorder()["error"], 60, "the recorder to notice")
        time.sleep(seconds)
        chain.await_flow()
    lifted, written = time.monotonic_ns(), sum(recorder()["written"].values())
    chain.wait_for(
        lambda: sum(recorder()["written"].values()) > written, 60, "the recorder to go on"
    )
    again = (time.monotonic_ns() - lifted) / 1e9
    missed = sum(recorder()["dropped"].values())
    pause = chain.listener.longest_pause_s(began)
    did = (
        f"went on, no pause above {pause:.2f} s; {missed} messages were not recorded, and counted; "
        f"recorded again after {again:.1f} s"
    )
    return Deed(did, 0.0)


def jump(chain: Chain, seconds: float) -> Deed:
    """The camera's timestamps and the node's own clock go an hour forth and back every second."""
    began = time.monotonic_ns()
    time.sleep(max(3.0, seconds))
    pause = chain.listener.longest_pause_s(began)
    beats = [at for at, _ in chain.listener.beats if at >= began]
    heart = max(b - a for a, b in itertools.pairwise(beats)) / 1e9
    did = f"did not notice: no pause above {pause:.2f} s, heartbeats at most {heart:.1f} s apart"
    return Deed(did, 0.0)


def change_model(chain: Chain, seconds: float) -> Deed:
    """Two models in turn, and one that is not there, by SIGHUP."""
    began = time.monotonic_ns()
    usual, models = chain.config, ("field-unfolded", "no-such-model", chain.config.engine.model)
    for number, model in enumerate(models, 1):
        engine = EngineSettings(model=model, threads=1, psf_sigma=usual.engine.psf_sigma)
        chain.write_config(msgspec.structs.replace(usual, engine=engine))
        chain.signal("node", signal.SIGHUP)

        def told(number: int = number) -> bool:
            state = chain.listener.last["engine_changes"]
            return state["done"] + state["failed"] >= number

        chain.wait_for(told, 180, f"the engine {model}")
        time.sleep(seconds / len(models))
    changed = time.monotonic_ns()
    found = chain.await_flow(changed, model=usual.engine.model)
    state, pause = chain.listener.last["engine_changes"], chain.listener.longest_pause_s(began)
    did = (
        f"changed {state['done']} times, kept the old one {state['failed']} time; no pause above "
        f"{pause:.2f} s"
    )
    return Deed(did, (found.time_ns - changed) / 1e9)


def overload(chain: Chain, seconds: float) -> Deed:
    """A camera that sends ten times what is answered without a limit."""
    lossless = chain.setting.mode == "lossless"
    rate = TIMES * _capacity(chain)
    chain.terminate("camera")
    before = chain.await_rest()
    chain.start_camera(rate_hz=rate)
    began = chain.await_flow(chain.said_ns("camera")).time_ns
    time.sleep(seconds)
    chain.await_flow()
    took, pause = (time.monotonic_ns() - began) / 1e9, chain.listener.longest_pause_s(began)
    answered = chain.listener.last
    # In lossless mode what waits at the camera is still sent, and answered.
    ends = chain.listener.life.ends
    chain.signal("camera", signal.SIGTERM)
    chain.wait_for(lambda: chain.listener.life.ends > ends, 180, "the end of the overload")
    chain.wait("camera")
    ended = chain.await_rest()
    chain.start_camera()
    up = chain.said_ns("camera")
    found = chain.await_flow(up)
    left = sum(ended["drops"].values()) - sum(before["drops"].values())
    done = (answered["by_status"]["ok"] - before["by_status"]["ok"]) / took
    came = ended["received"] + ended["lost_upstream"] - before["received"] - before["lost_upstream"]
    did = (
        f"unmixed {done:.0f} of {came / took:.0f} frames/s, no pause above {pause:.2f} s"
        if not lossless
        else f"held the camera back to {came / took:.0f} of {rate:.0f} frames/s, {left} not unmixed"
    )
    return Deed(did, (found.time_ns - up) / 1e9)


def _capacity(chain: Chain) -> float:
    """Frames a second for which the engine has time, by what the calm ones took."""
    busy = [arrival.busy_ms for arrival in chain.listener.arrivals if arrival.status == "ok"]
    return 1000 / statistics.median(busy)


FAULTS = (
    Fault("camera-killed", "camera killed (kill -9), started again", kill_camera),
    Fault("detector-killed", "detector killed, started again", kill_detector),
    Fault("subscriber-killed", "a subscriber killed, started again", kill_subscriber),
    Fault("camera-stopped", "camera stopped (SIGSTOP), continued", stop_camera),
    Fault("detector-stopped", "detector stopped, continued", stop_detector),
    Fault("subscriber-stopped", "a subscriber stops reading, continues", stop_subscriber),
    Fault("node-stopped", "node stopped, continued", stop_node),
    Fault("descriptors", "node out of file descriptors", exhaust_descriptors),
    Fault("model-change", "model changed under way (SIGHUP)", change_model),
    Fault("node-killed", "node killed, started again", kill_node),
    Fault("disk-full", "disk full for the recorder, then not", fill_disk, RECORDED),
    Fault("clock", "clocks jump by an hour, back and forth", jump, CLOCK),
    Fault("overload-live", "ten times the load, live", overload, LIVE),
    Fault("overload-lossless", "ten times the load, lossless", overload, LOSSLESS),
)
