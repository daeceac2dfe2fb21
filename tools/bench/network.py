"""A network alone on one core: where its time goes, and models in turn, in processor time.

`python -m dscsnet.tools.bench.network MODEL[@RUNTIME] ...`; the runtime is ONNX Runtime by default.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime

from dscsnet.engines.model import Model, load_model
from dscsnet.engines.runtimes import Runtime, RuntimeOptions, open_runtime
from dscsnet.engines.runtimes.base import Arrays
from dscsnet.tools.host.machine import describe

#: Whose operators are told.
DEFAULT = "onnxruntime"
BATCHES = (1, 8, 20, 64, 256)
PROFILED = 64
#: Crops that each runtime is given at each batch size, and the fewest batches.
CROPS, LEAST_RUNS = 3000, 24
#: First batches that do not count: memory is allocated in them.
WARM_UP = 3
#: Operators with a smaller share are summed up.
LEAST_SHARE = 0.01


def golden_batch(model: Model, number: int) -> Arrays:
    """So many of the model's golden crops, over and over."""
    inputs = model.golden().inputs
    return {name: value[np.arange(number) % len(value)] for name, value in inputs.items()}


def operator_shares(model: Model, number: int) -> dict[str, float]:
    """Share of each operator in ONNX Runtime's time on batches of `number` crops, falling."""
    inputs, time_of = golden_batch(model, number), Counter[str]()
    with TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(
            model.network_path, options, providers=["CPUExecutionProvider"]
        )
        for _ in range(max(LEAST_RUNS, CROPS // number)):
            session.run(None, inputs)
        for event in json.loads(Path(session.end_profiling()).read_bytes()):
            if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
                time_of[event["args"]["op_name"]] += event["dur"]
    total = sum(time_of.values())
    return {name: spent / total for name, spent in time_of.most_common()}


@dataclass(frozen=True)
class Times:
    """Seconds of processor time of whole batches of one runtime."""

    median: float
    least: float


def times_in_turn(
    runtimes: Mapping[str, Runtime], inputs: Mapping[str, Arrays]
) -> dict[str, Times]:
    """Each runtime executes its batch in turn, so that what else the machine does meets all."""
    number = len(next(iter(inputs.values()))["crops"])
    spent: dict[str, list[float]] = {name: [] for name in runtimes}
    for _ in range(WARM_UP + max(LEAST_RUNS, CROPS // number)):
        for name, runtime in runtimes.items():
            started = time.process_time()
            runtime.run(inputs[name])
            spent[name].append(time.process_time() - started)
    return {
        name: Times(float(np.median(values[WARM_UP:])), min(values[WARM_UP:]))
        for name, values in spent.items()
    }


def main() -> None:
    """Print the operators of each model, then crops a second of all; the first one is 1."""
    print(describe())
    models: dict[str, Model] = {}
    runtimes: dict[str, Runtime] = {}
    for name in sys.argv[1:]:
        folder, _, kind = name.partition("@")
        models[name] = load_model(folder)
        runtimes[name] = open_runtime(kind or DEFAULT, models[name], RuntimeOptions(threads=1))
        if kind in ("", DEFAULT):
            shares = _listed(operator_shares(models[name], PROFILED))
            print(f"{name}, batch {PROFILED}, %: {shares}")
    for batch in BATCHES:
        inputs = {name: golden_batch(model, batch) for name, model in models.items()}
        times = times_in_turn(runtimes, inputs)
        first = times[next(iter(times))]
        for name, each in times.items():
            print(
                f"{name} ({runtimes[name].name}), batch {batch}: "
                f"{batch / each.median:,.0f} crops/s of processor time "
                f"(best {batch / each.least:,.0f}); {first.median / each.median:.2f} times the "
                f"first (best {first.least / each.least:.2f})"
            )


def _listed(shares: Mapping[str, float]) -> str:
    shown = [f"{k} {100 * share:.1f}" for k, share in shares.items() if share >= LEAST_SHARE]
    rest = 100 * sum(share for share in shares.values() if share < LEAST_SHARE)
    return ", ".join([*shown, f"others {rest:.1f}"])


if __name__ == "__main__":
    main()
