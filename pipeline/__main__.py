"""`python -m pipeline`."""

from dscsnet.pipeline.cli import main

main()
