"""One step of a training: crops, loss, gradients, optimiser and averaging, with no wait inside.

On a GPU the whole step is recorded once as a CUDA graph and replayed: a small network's step is a
thousand short kernels, which the host could not start as fast as the device ends them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dscsnet.tools.training.config import Optimisation
from dscsnet.tools.training.objective import Objective

#: Share of the newest step in the running mean of the loss.
NEWEST = 0.01
#: Steps that are run as they are before one is recorded: they fill pools and caches.
WARM_UP = 3


class Step:
    """Runs steps one by one.

    Args:
        average: averages of the network's weights and buffers by name, changed in place.

    Attributes:
        optimiser: of the weights.
        loss: of the last step, and its running mean, each of one element; reading them waits for
            the device.
    """

    def __init__(
        self, objective: Objective, settings: Optimisation, average: dict[str, Tensor]
    ) -> None:
        self.objective, self.settings = objective, settings
        self.weights = list(objective.model.parameters())
        self.device = self.weights[0].device
        on_gpu = self.device.type == "cuda"
        # Numbers that change from step to step: where a graph finds them.
        self._rate, self._share = (torch.zeros((), device=self.device) for _ in range(2))
        decayed = [p for p in self.weights if p.dim() > 1]
        others = [p for p in self.weights if p.dim() <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
            lr=self._rate if on_gpu else settings.learning_rate,
            weight_decay=settings.weight_decay,
            betas=(0.9, 0.98),
            fused=True if on_gpu else None,
            capturable=on_gpu,
        )
        self.loss, self.running = (
            torch.zeros((), dtype=torch.float64, device=self.device) for _ in range(2)
        )
        values = objective.model.state_dict()
        self._averages, self._values = list(average.values()), [values[name] for name in average]

    def restore(self, optimiser: dict[str, object]) -> None:
        """Go on with a stored state of the optimiser."""
        on_gpu = self.device.type == "cuda"
        self.optimiser.load_state_dict(optimiser)
        for group in self.optimiser.param_groups:  # it may be of a run on another device
            group.update(fused=True if on_gpu else None, capturable=on_gpu)
            if on_gpu:
                group["lr"] = self._rate

    def run(self, learning_rate: float, decay: float) -> None:
        """One step.

        Args:
            decay: of the averages.
        """
        self._rate.fill_(learning_rate)
        self._share.fill_(1 - decay)
        if self.device.type != "cuda":
            for group in self.optimiser.param_groups:
                group["lr"] = learning_rate
        self._run()

    def wait(self) -> None:
        """Until all that was begun is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _run(self) -> None:
        self._compute()

    def _compute(self) -> None:
        loss = self.objective.loss(self.settings.batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, self.settings.clip)
        self.optimiser.step()
        with torch.no_grad():
            change = torch._foreach_sub(self._values, self._averages)
            torch._foreach_mul_(change, self._share)
            torch._foreach_add_(self._averages, change)
            self.loss.copy_(loss)
            mean = (1 - NEWEST) * self.running + NEWEST * self.loss
            self.running.copy_(torch.where(self.running == 0, self.loss, mean))


class GraphedStep(Step):
    """Replays a recorded step; its crops are drawn on the device, without waiting for it.

    From the recording on, the optimiser, the averages and the simulator's state are where the
    graph expects them: what is restored must be restored before.
    """

    def __init__(
        self, objective: Objective, settings: Optimisation, average: dict[str, Tensor]
    ) -> None:
        super().__init__(objective, settings, average)
        self._done = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def _run(self) -> None:
        if self._graph is not None:
            self._graph.replay()
        elif self._done < WARM_UP:
            self._done += 1
            with _beside(self.device):
                self._compute()
        else:
            self._graph = self._record()
            self._graph.replay()

    def _record(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.objective.crops.generator)
        self.optimiser.zero_grad(set_to_none=True)
        torch.cuda.synchronize(self.device)
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._compute()
        return graph


@contextmanager
def _beside(device: torch.device) -> Iterator[None]:
    """Work in a stream of its own, as what is recorded later must have run before."""
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream(device).wait_stream(stream)
