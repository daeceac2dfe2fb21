"""Without the extra: what it says, and that nothing else asks for it."""

import subprocess
import sys

import pytest

from dscsnet.engines.model import load_model
from dscsnet.engines.runtimes import Unavailable, open_runtime


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "dscsnet.engines.runtimes.openvino_runtime", raising=False)
    with pytest.raises(Unavailable, match=r'install "dscsnet\[openvino\]"') as error:
        open_runtime("openvino", load_model("csist100k-mlp"))
    assert error.value.cause == "no_library"


def test_auto_does_not_load_it() -> None:
    program = (
        "import sys; from dscsnet.engines.opening import open_engine; "
        "open_engine('csist100k-mlp', 'onnxruntime'); "
        "assert 'openvino' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
