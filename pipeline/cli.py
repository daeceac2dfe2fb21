"""The pipeline's commands, and how every command line of this distribution reports errors."""

import sys

import typer

from dscsnet.engines.errors import DscsnetError
from dscsnet.pipeline.commands import compare, keys, listen, model, node, record, replay

#: Which extra of the distribution brings an optional library.
EXTRAS = {
    **dict.fromkeys(("torch", "onnx", "onnxscript", "safetensors"), "train"),
    "matplotlib": "plot",
    "scipy": "dev",
}


def add_commands(app: typer.Typer) -> None:
    """Add the pipeline's commands to an app."""
    for command in (
        node.node,
        node.check,
        replay.replay,
        record.record,
        compare.compare,
        listen.listen,
    ):
        app.command()(command)
    app.add_typer(model.app, name="model")
    app.add_typer(keys.app, name="keys")


def run(app: typer.Typer) -> None:
    """Run an app; an error is one line on standard error and exit code 1 (2: wrong use)."""
    try:
        app()
    except DscsnetError as error:
        print(f"dscsnet: {error}", file=sys.stderr)
        sys.exit(1)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        print(
            f"dscsnet: this needs {error.name}, which is not installed: "
            f"pip install 'dscsnet[{extra}]'",
            file=sys.stderr,
        )
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def new_app(help_text: str) -> typer.Typer:
    """An app whose unexpected errors show a plain traceback."""
    return typer.Typer(
        no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=help_text
    )


def main() -> None:
    """Entry point of `python -m dscsnet.pipeline`."""
    app = new_app("The streaming node, replay and listener.")
    add_commands(app)
    run(app)
