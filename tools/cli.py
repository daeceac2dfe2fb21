"""`dscsnet`: every command of the distribution, listed here."""

import typer

from dscsnet.detector_stub import cli as detector_commands
from dscsnet.pipeline.cli import add_commands, new_app, run
from dscsnet.pipeline.commands import model
from dscsnet.tools.commands import (
    bench,
    build,
    calibrate,
    curves,
    dataset,
    demo,
    evaluate,
    faults,
    picture,
    show,
    soak,
    train,
)

COMMANDS = (
    detector_commands.detector,
    detector_commands.simulate,
    demo.demo,
    picture.picture,
    bench.bench,
    soak.soak,
    faults.faults,
    train.train,
    evaluate.evaluate,
    curves.curves,
    show.show,
    calibrate.calibrate,
)


def new_cli() -> typer.Typer:
    """Return the app with all commands."""
    app = new_app("Unmix closely spaced infrared point targets from a detector's candidate spots.")
    add_commands(app)
    for command in COMMANDS:
        app.command()(command)
    model.app.command()(train.export)
    model.app.command()(train.renew)
    model.app.command()(build.build)
    model.app.command()(build.precision)
    app.add_typer(dataset.app, name="dataset")
    return app


def main() -> None:
    """Entry point of `dscsnet`."""
    run(new_cli())


if __name__ == "__main__":
    main()
