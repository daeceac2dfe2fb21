"""CUDA graphs over the driver's functions: order, arguments, errors."""

import ctypes
from typing import Any

import pytest

from dscsnet.engines.errors import InferenceError
from dscsnet.engines.runtimes.driver import DriverError
from dscsnet.engines.runtimes.tensorrt.graphs import Graphs

GRAPH, EXECUTABLE = 0x1234_5678_9ABC, 0x7FFF_0000_1110


class Driver:
    """The driver's library; records what is called, and fails where it is told to."""

    def __init__(self, **failures: int) -> None:
        self.failures, self.calls = failures, []

    def __getattr__(self, name: str) -> Any:
        def function(*arguments: Any) -> int:
            self.calls.append((name, arguments))
            if name == "cuStreamEndCapture":
                arguments[1]._obj.value = GRAPH
            if name == "cuGraphInstantiateWithFlags":
                arguments[0]._obj.value = EXECUTABLE
            if name == "cuGetErrorName":
                arguments[1]._obj.value = b"CUDA_ERROR_TEST"
            return self.failures.get(name, 0)

        return function

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


def test_record_launch_close() -> None:
    driver = Driver()
    graph = Graphs(driver).record(7, lambda: driver.calls.append(("work", ())))
    assert driver.names == [
        "cuStreamBeginCapture_v2",
        "work",
        "cuStreamEndCapture",
        "cuGraphInstantiateWithFlags",
        "cuGraphDestroy",
    ]
    assert driver.calls[0][1][0].value == 7
    assert driver.calls[-1][1][0].value == GRAPH
    graph.launch(8)
    graph.close()
    (launch, executed), (destroy, freed) = driver.calls[-2:]
    assert (launch, destroy) == ("cuGraphLaunch", "cuGraphExecDestroy")
    # Pointers of 64 bits: as plain numbers ctypes would cut them to 32.
    assert all(isinstance(argument, ctypes.c_void_p) for argument in executed)
    assert [argument.value for argument in executed] == [EXECUTABLE, 8]
    assert freed[0].value == EXECUTABLE


def test_a_failure_in_the_work_ends_the_capture() -> None:
    driver = Driver()

    def work() -> None:
        raise InferenceError("no")

    with pytest.raises(InferenceError, match=r"^no$"):
        Graphs(driver).record(7, work)
    assert driver.names[-1] == "cuStreamEndCapture"


@pytest.mark.parametrize(
    "function",
    ["cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags"],
)
def test_errors_have_the_drivers_name(function: str) -> None:
    driver = Driver(**{function: 900})
    with pytest.raises(InferenceError, match=f"^{function}: CUDA_ERROR_TEST$"):
        Graphs(driver).record(7, lambda: None)
    if function == "cuGraphInstantiateWithFlags":
        assert driver.names[-1] == "cuGraphDestroy"


def test_a_launch_that_is_refused_is_an_error() -> None:
    graph = Graphs(Driver()).record(7, lambda: None)
    graph._graphs = Graphs(Driver(cuGraphLaunch=719))
    with pytest.raises(DriverError, match=r"^cuGraphLaunch: CUDA_ERROR_TEST$"):
        graph.launch(7)


def test_the_machines_driver_is_taken_unless_another_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver, loaded = Driver(), []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: loaded.append(name) or driver)
    Graphs().call("cuGraphDestroy")
    assert (loaded, driver.names) == (["libcuda.so.1"], ["cuGraphDestroy"])
    Graphs(Driver()).call("cuGraphDestroy")
    assert len(loaded) == 1
