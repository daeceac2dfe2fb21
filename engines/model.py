"""Model folders: card, network, golden crops and selection, found by name, checked before use."""

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.card import ModelCard
from dscsnet.engines.errors import ModelError
from dscsnet.engines.files.arrays import Archive, ArrayFileError
from dscsnet.engines.files.strict_yaml import YamlError, decode_yaml
from dscsnet.engines.fitting import NO_SELECTION, Selection, selection_of

SHIPPED = Path(__file__).parent / "weights"
CARD = "model.yaml"
NETWORK = "model.onnx"
GOLDEN = "golden.npz"
SELECTION = "selection.npz"
MOST_GOLDEN_BYTES = 64 * 2**20
MOST_SELECTION_BYTES = 8 * 2**20

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Golden:
    """Stored inputs and the float64 reference's outputs for the check at load.

    Attributes:
        inputs, outputs: arrays by name; the first axis is the batch.
    """

    inputs: dict[str, Values]
    outputs: dict[str, Values]


@dataclass(frozen=True)
class Model:
    """A model folder whose files were found to be those that its card names."""

    folder: Path
    card: ModelCard

    @property
    def network_path(self) -> Path:
        """The ONNX file."""
        return self.folder / NETWORK

    @property
    def sha256(self) -> str:
        """Digest of the ONNX file, which identifies the model in messages."""
        return self.card.files[NETWORK]

    def golden(self) -> Golden:
        """Stored crops and reference outputs (ModelError where they are not there)."""
        inputs, outputs = self.card.inputs, self.card.outputs
        try:
            with Archive(self.folder / GOLDEN) as archive:
                arrays = archive.read({*inputs, *outputs}, MOST_GOLDEN_BYTES)
        except ArrayFileError as error:
            raise ModelError(f"{self.folder / GOLDEN}: {error}") from None
        for name, array in arrays.items():
            if array.dtype != np.float32 or array.ndim < 1:
                raise ModelError(
                    f"{self.folder / GOLDEN}: {name}: expected float32 with a batch axis, "
                    f"got {array.dtype} of shape {array.shape}"
                )
        lengths = {len(array) for array in arrays.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise ModelError(f"{self.folder / GOLDEN}: expected arrays of one length, at least 1")
        return Golden(
            {name: cast(Values, arrays[name]) for name in inputs},
            {name: cast(Values, arrays[name]) for name in outputs},
        )

    def selection(self) -> Selection:
        """What chooses the number of targets; an empty one where the model has none.

        Raises:
            ModelError: it is not usable.
        """
        if SELECTION not in self.card.files:
            return NO_SELECTION
        try:
            with Archive(self.folder / SELECTION) as archive:
                return selection_of(archive.read(Selection._fields, MOST_SELECTION_BYTES))
        except (ArrayFileError, ValueError) as error:
            raise ModelError(f"{self.folder / SELECTION}: {error}") from None


def shipped_models() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{CARD}"))


def load_model(name: str | Path) -> Model:
    """Open a shipped model by name, or any model folder by path, and check its files.

    Raises:
        ModelError: no such model, unreadable card, missing or altered file, or one that everybody
            can write to.
    """
    folder = _find(name)
    for each in (folder, folder / CARD):
        _refuse_if_others_write(each)
    card = _read_card(folder / CARD)
    for required in (NETWORK, GOLDEN):
        if required not in card.files:
            raise ModelError(f"{folder / CARD}: files: no sha256 for {required}")
    for file, expected in card.files.items():
        _check(folder, file, expected)
    return Model(folder, card)


def write_card(card: ModelCard, folder: Path) -> None:
    """Write `model.yaml`."""
    (folder / CARD).write_bytes(msgspec.yaml.encode(card))


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find(name: str | Path) -> Path:
    shipped = SHIPPED / str(name)
    if str(name) in shipped_models():
        return shipped
    folder = Path(name)
    if (folder / CARD).is_file():
        return folder
    if folder.is_dir():
        raise ModelError(f"{folder}: no {CARD} in this folder, so it is not a model")
    raise ModelError(
        f'no model "{name}": not a folder, and the shipped ones are {", ".join(shipped_models())}'
    )


def _refuse_if_others_write(path: Path) -> None:
    """What has been checked may be read again later: nobody else must be able to change it."""
    if path.stat().st_mode & stat.S_IWOTH:
        raise ModelError(
            f"{path}: everybody can write to it, so that it may be changed after it was checked; "
            f"chmod o-w {path}, or copy the model to a folder of your own"
        )


def _read_card(path: Path) -> ModelCard:
    try:
        return msgspec.convert(decode_yaml(path.read_bytes()), ModelCard)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    except (YamlError, msgspec.ValidationError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: not a valid model card: {reason}") from None


def _check(folder: Path, file: str, expected: str) -> None:
    path = folder / file
    if Path(file).name != file:
        raise ModelError(f'{folder / CARD}: files: "{file}" must be a plain file name')
    try:
        _refuse_if_others_write(path)
        actual = file_sha256(path)
    except (OSError, ValueError) as error:  # a name with a null character is a ValueError
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(
            f"{path}: {reason}; restore the model folder, its card names this file"
        ) from None
    if actual != expected:
        raise ModelError(
            f"{path}: altered: its sha256 starts {actual[:12]}, its card says {expected[:12]}; "
            "restore the file or export the model again"
        )
