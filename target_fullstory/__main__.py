"""Runs the executable for `python -m target_fullstory`."""

from target_fullstory.cli import main

if __name__ == "__main__":
    main()
