"""Record to request: pure functions, compiled once per SCHEMA."""

from target_fullstory.mapping.calls.call import (
    Call,
    CallMapping,
    alone,
    decode_call,
    encode_call,
    shown_call,
    shown_spec,
    stored_call,
)
from target_fullstory.mapping.checks import check_spec
from target_fullstory.mapping.compile import compile_mapping
from target_fullstory.mapping.fast.columns import NotFastError
from target_fullstory.mapping.fast.path import NOT_FAST, Chunk, FastPath, chunk_of, compile_fast
from target_fullstory.mapping.result import Mapped, Rejected
from target_fullstory.mapping.spec import BatchSpec, MappingOptions, MappingSpec, spec_for
from target_fullstory.mapping.stream import StreamMapping

__all__ = [
    "NOT_FAST",
    "BatchSpec",
    "Call",
    "CallMapping",
    "Chunk",
    "FastPath",
    "Mapped",
    "MappingOptions",
    "MappingSpec",
    "NotFastError",
    "Rejected",
    "StreamMapping",
    "alone",
    "check_spec",
    "chunk_of",
    "compile_fast",
    "compile_mapping",
    "decode_call",
    "encode_call",
    "shown_call",
    "shown_spec",
    "spec_for",
    "stored_call",
]
