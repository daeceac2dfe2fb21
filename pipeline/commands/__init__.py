"""Subcommands of `dscsnet` that belong to the pipeline, as plain typer functions."""
