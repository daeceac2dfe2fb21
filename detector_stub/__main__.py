"""`python -m dscsnet.detector_stub`."""

from dscsnet.detector_stub.cli import main

if __name__ == "__main__":
    main()
