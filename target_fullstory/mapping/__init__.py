"""Record to request: pure functions, compiled once per SCHEMA."""

from target_fullstory.mapping.calls.server_call import (
    Call,
    decode_call,
    encode_call,
    join_calls,
    redacted_call,
    redacted_spec,
    stored_call,
)
from target_fullstory.mapping.constant_uids import CONSTANT_UID, constant_uid
from target_fullstory.mapping.outcome import Chunk, MadeRequest, Rejected
from target_fullstory.mapping.plan.written_sources import ORIGINS
from target_fullstory.mapping.program.mapper import LineDecoder, Mapper
from target_fullstory.mapping.spec import (
    DEFAULT_STREAMS,
    SYNC_MODES,
    BatchSpec,
    MappingOptions,
    MappingSpec,
    spec_for,
)
from target_fullstory.mapping.spec_checks import check_spec
from target_fullstory.mapping.stream_compiler import compile_mapper

__all__ = [
    "CONSTANT_UID",
    "DEFAULT_STREAMS",
    "ORIGINS",
    "SYNC_MODES",
    "BatchSpec",
    "Call",
    "Chunk",
    "LineDecoder",
    "MadeRequest",
    "Mapper",
    "MappingOptions",
    "MappingSpec",
    "Rejected",
    "check_spec",
    "compile_mapper",
    "constant_uid",
    "decode_call",
    "encode_call",
    "join_calls",
    "redacted_call",
    "redacted_spec",
    "spec_for",
    "stored_call",
]
