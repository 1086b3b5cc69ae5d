"""Lets `python -m target_fullstory` stand for the `target-fullstory` executable."""

from target_fullstory.cli import main

if __name__ == "__main__":
    main()
