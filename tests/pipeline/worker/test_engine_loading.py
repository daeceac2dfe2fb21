"""What the node's engine is opened with, and what is said of it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dscsnet.engines.errors import ModelError
from dscsnet.engines.psf_fit_settings import PsfFitSettings
from dscsnet.engines.runtimes import RuntimeOptions
from dscsnet.pipeline.config import EngineSettings
from dscsnet.pipeline.worker import engine_loading as module


class Played:
    """An engine that notes what is done to it."""

    name, runtime_name, sha256, psf = "played", "none", "ab", (0.4, 0.9)

    def __init__(self) -> None:
        self.did: list[str] = []
        self.fails = False

    def check(self) -> None:
        self.did.append("check")
        if self.fails:
            raise ModelError("it is wrong")

    def close(self) -> None:
        self.did.append("close")


@pytest.fixture(name="opened")
def _opened(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The engine, and what it was opened with."""
    opened = SimpleNamespace(engine=Played(), given=None)

    def open_engine(*given: Any, **more: Any) -> Any:
        opened.given = (given, more)
        return opened.engine

    monkeypatch.setattr(module, "open_engine", open_engine)
    return opened


def test_every_setting_is_passed_on(opened: SimpleNamespace) -> None:
    fit = PsfFitSettings(seed=4)
    settings = EngineSettings(
        model="psf-fit", runtime="onnxruntime", threads=3, psf_fit=fit, device=1,
        precision="fp32", cache="/somewhere", least_existence=0.25,
    )  # fmt: skip
    assert module.load_engine(settings) is opened.engine
    options = RuntimeOptions(device=1, precision="fp32", cache=Path("/somewhere"))
    assert opened.given == (
        ("psf-fit", "onnxruntime"),
        {
            **{"threads": 3, "psf": None, "psf_fit": fit, "least_existence": 0.25},
            "options": options,
        },
    )
    assert opened.engine.did == ["check"]
    module.load_engine(EngineSettings(psf_sigma=0.6))
    assert opened.given[1]["psf"] == (0.6, 0.6)
    assert opened.given[1]["options"] == RuntimeOptions()


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        (EngineSettings(), True),
        (EngineSettings(psf_sigma=0.6), False),
        (EngineSettings(model="psf-fit", psf_fit=PsfFitSettings()), False),
    ],
)
@pytest.mark.usefixtures("opened")
def test_a_psf_that_is_not_told_is_assumed_and_said(
    settings: EngineSettings, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    module.load_engine(settings)
    assert ("engine.psf_sigma is not set: 0.4 px is assumed" in caplog.text) == warned


@pytest.mark.parametrize(("kind", "warned"), [("fixed", True), ("rms", False), ("peak", False)])
def test_of_a_network_that_is_not_scale_free_is_warned(
    opened: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    warned: bool,
) -> None:
    monkeypatch.setattr(module, "ModelEngine", Played)
    opened.engine.model = SimpleNamespace(card=SimpleNamespace(normalisation=kind))
    module.load_engine(EngineSettings(psf_sigma=0.6))
    assert ("played is not scale-free" in caplog.text) == warned


def test_an_engine_that_fails_its_check_is_closed(opened: SimpleNamespace) -> None:
    opened.engine.fails = True
    with pytest.raises(ModelError, match=r"^it is wrong$"):
        module.load_engine(EngineSettings(psf_sigma=0.6))
    assert opened.engine.did == ["check", "close"]


def test_what_cannot_be_opened_is_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_engine(*_: object, **__: object) -> None:
        raise ModelError("not there")

    monkeypatch.setattr(module, "open_engine", open_engine)
    with pytest.raises(ModelError, match=r"^engine: not there$"):
        module.load_engine(EngineSettings())


def test_what_messages_say_of_an_engine() -> None:
    engine: Any = Played()
    found = module.engine_info(engine)
    assert (found.runtime, found.model, found.sha256) == ("none", "played", "ab")
    assert found.psf_sigma == pytest.approx(0.6)  # the geometric mean of 0.4 and 0.9
    assert module.fallbacks(engine) == ()
