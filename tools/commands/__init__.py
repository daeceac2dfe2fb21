"""Subcommands of `dscsnet` that belong to the tools, as plain typer functions."""
