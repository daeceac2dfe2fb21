"""Training of the selection, which chooses the number of targets after the fits.

It learns from crops that the network has not seen, as the network and the fits of each number of
targets answer them. Several protocols together teach it what a PSF told right leaves, and what a
wrong one does, of which a fit alone makes pairs.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dscsnet.engines.array_types import Float
from dscsnet.engines.card import GridlessReadout
from dscsnet.engines.engine import CropBatch, Engine
from dscsnet.engines.fitting import Selection, selection_of
from dscsnet.engines.readouts.gridless import selection_features
from dscsnet.tools.simulation.field import FieldSimulator
from dscsnet.tools.training.config import SelectionTraining

SEED = 616
#: Crops that are drawn at once, and that the engine is given at once.
DRAWN, RUN = 2000, 250
#: Least spread of a feature: one that never varies must not blow up.
LEAST_SPREAD = 1e-3

Tell = Callable[[int, int], None]


def train_selection(
    engine: Engine,
    readout: GridlessReadout,
    settings: SelectionTraining,
    slots: int,
    tell: Tell = lambda done, total: None,
) -> Selection:
    """A selection for this network and these fits.

    Args:
        readout: with the very fit that the selection is to follow.
        slots: of the network.
        tell: takes how many crops of how many are fitted.
    """
    total, done = settings.crops * len(settings.protocols), 0
    parts: list[tuple[Float, NDArray[np.int64]]] = []
    for batch, number in _draw(settings):
        features = _features(engine, readout, batch)
        # Where the network sees nothing nothing is fitted, and the selection is not asked.
        some = (number > 0) & features.any(1)
        parts.append((features[some], np.minimum(number[some] - 1, slots)))
        done += len(batch)
        tell(done, total)
    features, label = (np.concatenate(column) for column in zip(*parts, strict=True))
    middle, spread = features.mean(0), features.std(0) + LEAST_SPREAD
    model = _fit((features - middle) / spread, label, slots + 1, settings)
    return _folded(model, middle, spread)


def _draw(settings: SelectionTraining) -> Iterator[tuple[CropBatch, NDArray[np.int64]]]:
    """Crops as the node sees them, and their numbers of targets."""
    for order, protocol in enumerate(settings.protocols):
        simulator = FieldSimulator(protocol, seed=SEED + order)
        for first in range(0, settings.crops, DRAWN):
            given = simulator.give(min(DRAWN, settings.crops - first))
            yield given.batch(), given.present.sum(1).numpy()


def _features(engine: Engine, readout: GridlessReadout, batch: CropBatch) -> Float:
    parts = (batch.part(first, first + RUN) for first in range(0, len(batch), RUN))
    return np.concatenate([selection_features(readout, engine.run(part), part) for part in parts])


def _fit(
    features: Float, label: NDArray[np.int64], classes: int, settings: SelectionTraining
) -> nn.Sequential:
    """Cross-entropy of the number, under a cosine schedule."""
    torch.manual_seed(SEED)
    given, wanted = torch.from_numpy(features).float(), torch.from_numpy(label)
    width = settings.hidden
    model = nn.Sequential(
        *(nn.Linear(given.shape[1], width), nn.ReLU()),
        *(nn.Linear(width, width), nn.ReLU()),
        nn.Linear(width, classes),
    )
    optimiser = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    steps = settings.passes * math.ceil(len(given) / settings.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(settings.passes):
        for rows in torch.randperm(len(given)).split(settings.batch):
            loss = functional.cross_entropy(model(given[rows]), wanted[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    return model


def _folded(model: nn.Sequential, middle: Float, spread: Float) -> Selection:
    """The weights, the features' scale in those of the first layer; rounded as they are kept."""
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    weights, biases = (
        [_double(getattr(layer, name)) for layer in layers] for name in ("weight", "bias")
    )
    weights[0] = weights[0] / spread
    biases[0] = biases[0] - weights[0] @ middle
    pairs = zip(weights, biases, strict=True)
    arrays = [array.astype(np.float32) for pair in pairs for array in pair]
    return selection_of(dict(zip(Selection._fields, arrays, strict=True)))


def _double(values: Tensor) -> Float:
    return values.detach().double().numpy()
