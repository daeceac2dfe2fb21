"""Prometheus metrics of the node: counters from the ledger, histograms from the stages."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

STAGE_BUCKETS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02),
    *(0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0),
)
SIZE_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)

#: Ledger counters with a label: key of the snapshot, metric, label, help.
_LABELLED = (
    ("by_status", "published", "status", "targets messages published"),
    ("drops", "dropped_frames", "reason", "frames answered without being unmixed"),
    ("unanswered", "unanswered_messages", "reason", "well-formed messages that opened no frame"),
    ("rejected", "rejected_messages", "reason", "malformed messages"),
    ("refused_connections", "refused_connections", "reason", "connections refused; see security"),
    ("messages", "received_messages", "kind", "messages received"),
)
_PLAIN = (
    ("received", "received_frames", "frame keys seen on either input"),
    ("lost_upstream", "lost_upstream", "frame ids that never came"),
    ("ends", "ends", "ends of streams passed on"),
    ("spots", "spots", "candidates published"),
    ("targets", "targets", "targets published"),
    ("unsent", "unsent_messages", "messages that the output could not take"),
)
_DEPTHS = ("waiting", "ready", "running", "done")


class NodeMetrics:
    """The registry behind /metrics.

    Args:
        snapshot: gives the ledger and queue depths of one moment.
    """

    def __init__(self, snapshot: Callable[[], Mapping[str, Any]]) -> None:
        self.registry = CollectorRegistry()
        self._snapshot = snapshot
        self._stages = Histogram(
            "dscsnet_stage_seconds",
            "time a frame or batch spent in a stage",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=self.registry,
        )
        self._sizes = {
            name: Histogram(f"dscsnet_{name}", text, buckets=SIZE_BUCKETS, registry=self.registry)
            for name, text in (
                ("batch_crops", "crops in one run of the engine"),
                ("batch_frames", "frames in one run of the engine"),
            )
        }
        self._by_stage: dict[str, Any] = {}
        self.registry.register(self)

    def observe(self, name: str, value: float) -> None:
        """One duration of a stage in seconds, or one size of a batch."""
        histogram = self._sizes.get(name) or self._by_stage.get(name)
        if histogram is None:
            histogram = self._by_stage[name] = self._stages.labels(name)
        histogram.observe(value)

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads, beside the histograms."""
        state = self._snapshot()
        for key, name, text in _PLAIN:
            yield CounterMetricFamily(f"dscsnet_{name}", text, value=state[key])
        for key, name, label, text in _LABELLED:
            family = CounterMetricFamily(f"dscsnet_{name}", text, labels=[label])
            for value, count in state[key].items():
                family.add_metric([value], count)
            yield family
        yield from _recorder(state.get("recorder"))
        yield from _engine_changes(state["engine_changes"])
        passed_over = CounterMetricFamily(
            "dscsnet_runtime_fallbacks",
            "runtimes that auto passed over",
            labels=["runtime", "cause"],
        )
        for each in state["fallbacks"]:
            passed_over.add_metric([each["runtime"], each["cause"]], each["times"])
        yield passed_over
        depth = GaugeMetricFamily("dscsnet_queue_frames", "frames in the node", labels=["state"])
        for name in _DEPTHS:
            depth.add_metric([name], state["queue"][name])
        yield depth
        yield GaugeMetricFamily(
            "dscsnet_queue_bytes", "pixels held, bytes", value=state["queue"]["bytes"]
        )
        yield GaugeMetricFamily(
            "dscsnet_queue_oldest_seconds",
            "age of the oldest unpublished frame",
            value=state["queue"]["oldest_ms"] / 1000,
        )
        yield GaugeMetricFamily("dscsnet_streams", "streams known", value=state["queue"]["streams"])
        yield GaugeMetricFamily(
            "dscsnet_psf_scale",
            "fitted over told PSF width, or NaN",
            value=state["psf_scale"],
        )
        ready = GaugeMetricFamily("dscsnet_ready", "1 when the node is ready", labels=["engine"])
        ready.add_metric([state["engine"]["model"]], float(state["ready"]))
        yield ready


def _recorder(state: Mapping[str, Any] | None) -> Iterator[Metric]:
    """What a recorder in the node counts; nothing where there is none."""
    if state is None:
        return
    for key, label, text in (
        ("written", "kind", "messages in recordings"),
        ("dropped", "reason", "messages that the recorder dropped"),
    ):
        family = CounterMetricFamily(f"dscsnet_recorder_{key}", text, labels=[label])
        for value, count in state[key].items():
            family.add_metric([value], count)
        yield family
    yield CounterMetricFamily("dscsnet_recorder_bytes", "recorded, bytes", value=state["bytes"])
    yield GaugeMetricFamily(
        "dscsnet_recorder_queue_bytes", "waiting for the disk, bytes", value=state["queued_bytes"]
    )
    yield GaugeMetricFamily(
        "dscsnet_recorder_failing", "1 while the disk refuses", value=float(bool(state["error"]))
    )


def _engine_changes(state: Mapping[str, Any]) -> Iterator[Metric]:
    changes = CounterMetricFamily(
        "dscsnet_engine_changes", "engines asked for while running", labels=["result"]
    )
    for result in ("done", "failed"):
        changes.add_metric([result], state[result])
    yield changes
    yield GaugeMetricFamily(
        "dscsnet_engine_loading",
        "1 while an engine is loaded beside the running one",
        value=float(state["loading"]),
    )
