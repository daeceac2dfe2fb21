"""What Prometheus reads: every number of a snapshot under its name, and the histograms' limits."""

from itertools import pairwise
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from dscsnet.pipeline.monitoring.metrics import SIZE_BUCKETS, STAGE_BUCKETS_S, NodeMetrics

SNAPSHOT: dict[str, Any] = {
    "received": 11,
    "lost_upstream": 12,
    "ends": 13,
    "spots": 14,
    "targets": 15,
    "unsent": 16,
    "by_status": {"ok": 21, "empty": 22},
    "drops": {"window": 23},
    "unanswered": {"late": 24},
    "rejected": {"header": 25},
    "refused_connections": {"no_curve": 26},
    "messages": {"frame": 27},
    "recorder": {
        "written": {"frame": 31},
        "dropped": {"queue": 32},
        "bytes": 33,
        "queued_bytes": 34,
        "error": "full",
    },
    "engine_changes": {"done": 41, "failed": 42, "loading": True},
    "fallbacks": [{"runtime": "tensorrt", "cause": "missing", "times": 43}],
    "queue": {
        **{"waiting": 51, "ready": 52, "running": 53, "done": 54, "bytes": 55},
        **{"oldest_ms": 5600.0, "streams": 57},
    },
    "psf_scale": 1.25,
    "engine": {"model": "field-unfolded"},
    "ready": True,
}


def samples(metrics: NodeMetrics) -> dict[tuple[str, ...], float]:
    """Values by name and labels' values, these in alphabetical order."""
    text = generate_latest(metrics.registry).decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_number_of_a_snapshot_has_its_name() -> None:
    found = samples(NodeMetrics(lambda: SNAPSHOT))
    expected = {
        ("dscsnet_received_frames_total",): 11,
        ("dscsnet_lost_upstream_total",): 12,
        ("dscsnet_ends_total",): 13,
        ("dscsnet_spots_total",): 14,
        ("dscsnet_targets_total",): 15,
        ("dscsnet_unsent_messages_total",): 16,
        ("dscsnet_published_total", "ok"): 21,
        ("dscsnet_published_total", "empty"): 22,
        ("dscsnet_dropped_frames_total", "window"): 23,
        ("dscsnet_unanswered_messages_total", "late"): 24,
        ("dscsnet_rejected_messages_total", "header"): 25,
        ("dscsnet_refused_connections_total", "no_curve"): 26,
        ("dscsnet_received_messages_total", "frame"): 27,
        ("dscsnet_recorder_written_total", "frame"): 31,
        ("dscsnet_recorder_dropped_total", "queue"): 32,
        ("dscsnet_recorder_bytes_total",): 33,
        ("dscsnet_recorder_queue_bytes",): 34,
        ("dscsnet_recorder_failing",): 1,
        ("dscsnet_engine_changes_total", "done"): 41,
        ("dscsnet_engine_changes_total", "failed"): 42,
        ("dscsnet_engine_loading",): 1,
        ("dscsnet_runtime_fallbacks_total", "missing", "tensorrt"): 43,
        ("dscsnet_queue_frames", "waiting"): 51,
        ("dscsnet_queue_frames", "ready"): 52,
        ("dscsnet_queue_frames", "running"): 53,
        ("dscsnet_queue_frames", "done"): 54,
        ("dscsnet_queue_bytes",): 55,
        ("dscsnet_queue_oldest_seconds",): 5.6,
        ("dscsnet_streams",): 57,
        ("dscsnet_psf_scale",): 1.25,
        ("dscsnet_ready", "field-unfolded"): 1,
    }
    assert {key: found.get(key) for key in expected} == expected
    others = [key for key in found if key not in expected and not key[0].startswith("dscsnet_b")]
    assert others == []


def test_a_node_without_a_recorder_has_no_numbers_of_one() -> None:
    for state in ({**SNAPSHOT, "recorder": None}, {**SNAPSHOT}):
        there = any("recorder" in key[0] for key in samples(NodeMetrics(lambda s=state: s)))
        assert there == (state["recorder"] is not None)
    quiet = {**SNAPSHOT["recorder"], "error": ""}
    assert (
        samples(NodeMetrics(lambda: {**SNAPSHOT, "recorder": quiet}))[("dscsnet_recorder_failing",)]
        == 0
    )


def test_durations_and_sizes_go_into_their_histograms() -> None:
    metrics = NodeMetrics(lambda: SNAPSHOT)
    for value in (0.0001, 0.0004, 7.0):
        metrics.observe("infer", value)
    metrics.observe("join", 0.3)
    metrics.observe("batch_crops", 20)
    metrics.observe("batch_crops", 21)
    metrics.observe("batch_frames", 3)
    found = samples(metrics)
    assert found["dscsnet_stage_seconds_count", "infer"] == 3
    assert found["dscsnet_stage_seconds_sum", "infer"] == pytest.approx(7.0005)
    assert found["dscsnet_stage_seconds_sum", "join"] == 0.3
    edges = [(0.0001, 1), (0.00025, 1), (0.0005, 2), (5.0, 2)]
    for edge, count in edges:  # a value on an edge belongs below it
        assert found["dscsnet_stage_seconds_bucket", str(edge), "infer"] == count
    assert found["dscsnet_batch_crops_bucket", "20.0"] == 1
    assert found["dscsnet_batch_crops_bucket", "50.0"] == 2
    assert found["dscsnet_batch_frames_sum",] == 3


def test_the_limits_are_round_and_fine_where_a_frame_takes_its_time() -> None:
    assert (
        tuple(m * 10**k for k in range(4) for m in (1, 2, 5))[: len(SIZE_BUCKETS)] == SIZE_BUCKETS
    )
    ratios = [b / a for a, b in pairwise(STAGE_BUCKETS_S)]
    assert (STAGE_BUCKETS_S[0], STAGE_BUCKETS_S[-1]) == (1e-4, 5.0)
    assert min(ratios) > 1.3
    assert max(ratios) <= 2.5 + 1e-9
    assert all(float(f"{edge:.2g}") == edge for edge in STAGE_BUCKETS_S)
