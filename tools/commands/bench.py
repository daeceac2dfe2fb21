"""`dscsnet bench`: speed of the engine and of the whole node on this machine."""

from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from dscsnet.pipeline.config import EngineSettings
from dscsnet.pipeline.recording.settings import Recording


def bench(
    *,
    model: Annotated[
        str, typer.Option(help="Name of a shipped model, or a model folder.")
    ] = EngineSettings().model,
    frames: Annotated[int, typer.Option(min=20, help="Frames timed at each setting.")] = 300,
    threads: Annotated[
        int, typer.Option(min=0, help="CPU threads of the node's engine; 0: one a core.")
    ] = 0,
    workers: Annotated[
        int, typer.Option(min=0, max=64, help="Workers of the node; 0: one a core.")
    ] = 0,
    streams: Annotated[
        int, typer.Option(min=1, max=10_000, help="Streams that share the node's throughput.")
    ] = 1,
    candidates: Annotated[
        list[int] | None, typer.Option(min=1, max=1000, help="Candidates a frame; repeatable.")
    ] = None,
    engine_only: Annotated[bool, typer.Option("--engine-only", help="Leave out the node.")] = False,
    peers: Annotated[
        bool, typer.Option("--peers", help="Only other people's ways, beside ours: minutes.")
    ] = False,
    recorder: Annotated[
        bool,
        typer.Option("--recorder", help="Only what recording costs the node: off, on, off ..."),
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, help="With --recorder: rounds of off and on.")] = 5,
    compression: Annotated[
        Literal["none", "lz4", "zstd"], typer.Option(help="With --recorder: of the frames.")
    ] = "none",
) -> None:
    """Measure crops/s of the engine, and frames/s and latency of the whole node."""
    from dscsnet.tools.host.machine import describe

    console = Console()
    console.print(describe(), highlight=False, soft_wrap=True)
    chosen = tuple(candidates or (1, 20, 100))
    if peers:
        from dscsnet.tools.commands.peers import print_peers

        print_peers(console, model, frames)
        return
    if recorder:
        _bench_recorder(console, model, chosen, frames, threads, rounds, compression)
        return
    _bench_engine(console, model)
    if not engine_only:
        _bench_node(console, model, chosen, frames, threads, workers, streams)


def _bench_engine(console: Console, model: str) -> None:
    import os

    from dscsnet.tools.bench.engine import bench_engine

    cores = len(os.sched_getaffinity(0))
    table = Table("engine", "batch", "crops/s", title=f"Engine: {model}", box=None)
    for speed in bench_engine(model, (1, 8, 64, 256), (1, cores) if cores > 1 else (1,)):
        table.add_row(speed.what, str(speed.batch), f"{speed.crops_per_s:,.0f}")
    console.print(table)


def _bench_node(
    console: Console,
    model: str,
    candidates: tuple[int, ...],
    frames: int,
    threads: int,
    workers: int,
    streams: int,
) -> None:
    from dscsnet.tools.bench.node import bench_node

    told = f"{workers or 'one a core'} workers, {streams} stream{'s' * (streams > 1)}"
    cpu = Table("spots", title="Processor time of a frame at that throughput, us", box=None)
    table = Table(
        *("spots", "frames/s", "loop/s", "at Hz", "p50 ms", "p90", "p99", "max", "overhead"),
        title=f"Node: 640x512 16-bit frames, {told}",
        box=None,
    )
    for node in bench_node(
        *(model, candidates), frames=frames, threads=threads, workers=workers, streams=streams
    ):
        table.add_row(
            str(node.candidates),
            f"{node.frames_per_s:.0f}",
            f"{node.loop_frames_per_s:.0f}",
            f"{node.rate_hz:.0f}",
            *(f"{value:.2f}" for value in node.latency_ms),
            f"{node.overhead_ms:.2f}",
        )
        if not cpu.rows:
            for part in (*node.cpu_us, "all"):
                cpu.add_column(part)
        shares = (*node.cpu_us.values(), sum(node.cpu_us.values()))
        cpu.add_row(str(node.candidates), *(f"{share:.0f}" for share in shares))
    console.print(table)
    console.print(cpu)
    console.print(
        "spots: candidates a frame, none near another; frames/s: lossless, as fast as it goes; "
        "loop/s: the same work in a plain loop without sockets; p50 to max: detections sent to "
        "answer received, ms, the frame sent just before; overhead: median ms in the node outside "
        "the engine's run and the wait for the other part; intake: receive, decode, join; worker: "
        "crops to answers; outlet: encode, send; network: ZeroMQ; other: the runtime's own threads",
        soft_wrap=True,
    )


def _bench_recorder(
    console: Console,
    model: str,
    candidates: tuple[int, ...],
    frames: int,
    threads: int,
    rounds: int,
    compression: Literal["none", "lz4", "zstd"],
) -> None:
    from dscsnet.tools.bench.recorder import bench_recorder

    table = Table(
        *("spots", "of the node", "off", "on", "cost %"),
        title=f"Recorder in the node: 640x512 16-bit frames, {rounds} rounds of {frames} frames",
        box=None,
    )
    for cost in bench_recorder(
        model,
        candidates,
        frames=frames,
        threads=threads,
        rounds=rounds,
        record=Recording(compression=compression),
    ):
        at = f"ms, at {cost.rate_hz:.0f} Hz"
        for what, (off, on), share in (
            ("frames/s, lossless", cost.frames_per_s, f"{cost.throughput_cost:+.1f}"),
            ("processor ms a frame", cost.cpu_ms, f"{cost.cpu_cost:+.1f}"),
            (f"latency p50, {at}", cost.median_ms, f"{cost.latency_cost:+.1f}"),
            (f"latency p99, {at}", cost.slow_ms, ""),
        ):
            table.add_row(str(cost.candidates), what, f"{off:.2f}", f"{on:.2f}", share)
        table.add_row(str(cost.candidates), "frames recorded, %", "", f"{cost.recorded:.1f}")
    console.print(table)
    console.print(
        "two nodes, one with a recorder, are loaded in turn; figures are medians over the rounds, "
        "costs medians over the pairs of a round",
        soft_wrap=True,
    )
