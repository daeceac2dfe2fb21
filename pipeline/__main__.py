"""`python -m dscsnet.pipeline`."""

from dscsnet.pipeline.cli import main

main()
