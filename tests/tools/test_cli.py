"""Defaults and limits of the tools' options, as the documentation has them."""

import pytest
import typer.main

from dscsnet.tools.cli import new_cli

#: Command and option: default, least and greatest value.
OPTIONS = {
    ("demo", "frames"): (300, 1, None),
    ("demo", "rate"): (20.0, 0.1, 1000),
    ("demo", "seed"): (3, 0, None),
    ("bench", "frames"): (300, 20, None),
    ("bench", "threads"): (0, 0, None),
    ("bench", "candidates"): (None, 1, 1000),
    ("bench", "rounds"): (5, 1, None),
    ("soak", "minutes"): (60.0, 0.1, None),
    ("soak", "rate"): (None, 0.1, None),
    ("soak", "candidates"): (20, 1, 1000),
    ("soak", "every"): (10.0, 2.0, None),
    ("faults", "seconds"): (10.0, 0.5, None),
    ("train", "threads"): (1, 1, None),
    ("train", "data_processes"): (0, 0, None),
    ("evaluate", "crops"): (None, 1, None),
    ("evaluate", "seed"): (1234, None, None),
    ("evaluate", "noise"): (None, 0, None),
    ("evaluate", "threads"): (0, 0, None),
    ("show", "frame"): (0, 0, None),
    ("show", "spot"): (None, 0, None),
    ("calibrate", "start"): (0, 0, None),
    ("calibrate", "frames"): (300, 1, None),
    ("calibrate", "least_snr"): (15.0, 5, None),
    ("calibrate", "gain"): (None, 0.0, None),
    ("model build", "device"): (0, 0, None),
    ("model precision", "crops"): (2000, 100, None),
    ("dataset write", "train"): (8000, 0, None),
    ("dataset write", "val"): (1000, 0, None),
    ("dataset write", "test"): (1000, 0, None),
    ("dataset write", "seed"): (0, 0, 10**9),
    ("dataset write", "base"): (0, 0, 1),
}


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_numbers_of_an_option(command: str, option: str) -> None:
    found = typer.main.get_command(new_cli())
    for name in command.split():
        found = found.commands[name]  # type: ignore[attr-defined]
    (given,) = (each for each in found.params if each.name == option)
    assert (given.default, given.min, given.max) == OPTIONS[command, option]  # type: ignore[attr-defined]


def test_nothing_that_costs_or_replaces_is_done_unasked() -> None:
    app = typer.main.get_command(new_cli())
    for name in ("bench", "soak", "faults", "train", "evaluate", "show", "calibrate", "curves"):
        for option in app.commands[name].params:  # type: ignore[attr-defined]
            assert option.default is not True, (name, option.name)
