"""`python -m detector_stub`."""

from detector_stub.cli import main

if __name__ == "__main__":
    main()
