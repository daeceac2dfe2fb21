"""`python -m dscsnet`."""

from dscsnet.tools.cli import main

if __name__ == "__main__":
    main()
