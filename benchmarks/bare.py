"""The bare loop: what msgspec needs to decode and encode the same lines, and nothing else."""

from __future__ import annotations

import sys

import msgspec


def main() -> None:
    """Decode and encode each line of standard input; print the bytes made."""
    decode = msgspec.json.Decoder().decode
    encode = msgspec.json.Encoder().encode
    size = 0
    for line in sys.stdin.buffer:
        size += len(encode(decode(line)))
    sys.stdout.write(f"{size}\n")


if __name__ == "__main__":
    main()
