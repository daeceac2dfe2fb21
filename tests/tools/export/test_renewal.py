"""A model folder's network exported again: another file, the same answers, nothing else changed."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("onnx")

from safetensors.numpy import load_file, save_file

from dscsnet.engines.errors import GoldenCheckFailed, ModelError
from dscsnet.engines.model import CARD, NETWORK, SHIPPED, file_sha256, load_model
from dscsnet.engines.networks.stored import WEIGHTS
from dscsnet.engines.runtimes import open_runtime
from dscsnet.tools.cli import new_cli
from dscsnet.tools.export.renewal import renew_network


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pinned(folder: Path, file: str) -> None:
    """Write a file's digest into the card, as if it had been exported so."""
    card, model = folder / CARD, load_model(SHIPPED / folder.name)
    card.write_text(card.read_text().replace(model.card.files[file], file_sha256(folder / file)))


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """A model whose network is another file than the exporter would write."""
    folder = tmp_path / "csist100k-unfolded"
    shutil.copytree(SHIPPED / folder.name, folder)
    with (folder / NETWORK).open("ab") as file:
        file.write(b"\xfa\x3e\x00")  # an empty field that no reader of ONNX knows
    pinned(folder, NETWORK)
    load_model(folder)
    return folder


def test_the_network_and_its_digest_are_new(folder: Path) -> None:
    before, answers = contents(folder), load_model(folder).golden()
    result = CliRunner().invoke(new_cli(), ["model", "renew", str(folder)])
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{folder}: renewed; relative error ")
    after, model = contents(folder), load_model(folder)
    assert {name for name, content in after.items() if content != before[name]} == {NETWORK, CARD}
    assert len(before[CARD]) == len(after[CARD])
    found = open_runtime("onnxruntime", model).run(answers.inputs)
    for name, wanted in answers.outputs.items():
        np.testing.assert_allclose(found[name], wanted, rtol=1e-3, atol=1e-4, err_msg=name)


def test_weights_of_another_network_change_nothing(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file(
        {name: np.asarray(1.01 * v, v.dtype) for name, v in weights.items()}, folder / WEIGHTS
    )
    pinned(folder, WEIGHTS)
    before = contents(folder)
    with pytest.raises(GoldenCheckFailed):
        renew_network(folder)
    assert contents(folder) == before


def test_a_model_without_weights_is_refused(folder: Path) -> None:
    card = folder / CARD
    lines = card.read_text().splitlines(keepends=True)
    card.write_text("".join(line for line in lines if WEIGHTS not in line))
    with pytest.raises(ModelError, match=r"no weights\.safetensors on its card"):
        renew_network(folder)
