"""The network of a model folder written anew from its weights, after the exporter has changed."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from dscsnet.engines.errors import ModelError
from dscsnet.engines.model import CARD, NETWORK, file_sha256, load_model
from dscsnet.engines.model_engine import open_model_engine
from dscsnet.engines.networks.stored import RECIPE, WEIGHTS, load_network
from dscsnet.engines.runtimes import RuntimeOptions
from dscsnet.tools.export.model_folder import write_onnx


def renew_network(name: str | Path) -> float:
    """Export the network of a shipped model or a model folder again; all else stays as it is.

    Returns:
        The largest relative error of an output on the golden crops.

    Raises:
        ModelError: no such model, no weights in it, or the new network is not the stored one;
            then nothing is changed.
    """
    model = load_model(name)
    for file in (WEIGHTS, RECIPE):
        if file not in model.card.files:
            raise ModelError(f"{model.folder}: no {file} on its card, from which to export")
    network = load_network(model.folder)
    with TemporaryDirectory() as place:
        new = Path(place) / model.folder.name
        shutil.copytree(model.folder, new)
        write_onnx(network, new / NETWORK)
        # As text: written from what was read, it would spell out what is left at its default.
        text = (new / CARD).read_text().replace(model.sha256, file_sha256(new / NETWORK))
        (new / CARD).write_text(text)
        engine = open_model_engine(new, "onnxruntime", options=RuntimeOptions(threads=1))
        engine.check_golden()
        error = engine.golden_error()
        engine.close()
        for file in (NETWORK, CARD):
            shutil.copyfile(new / file, model.folder / file)
    return error
