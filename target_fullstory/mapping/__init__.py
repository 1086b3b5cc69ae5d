"""Record to request: pure functions, compiled once per SCHEMA."""

from target_fullstory.mapping.checks import check_spec
from target_fullstory.mapping.compile import compile_mapping
from target_fullstory.mapping.fast import NOT_FAST, Chunk, FastPath, compile_fast
from target_fullstory.mapping.fastcolumns import NotFastError
from target_fullstory.mapping.result import Mapped, Rejected
from target_fullstory.mapping.spec import Kind, MappingOptions, MappingSpec, spec_for
from target_fullstory.mapping.stream import StreamMapping

__all__ = [
    "NOT_FAST",
    "Chunk",
    "FastPath",
    "Kind",
    "Mapped",
    "MappingOptions",
    "MappingSpec",
    "NotFastError",
    "Rejected",
    "StreamMapping",
    "check_spec",
    "compile_fast",
    "compile_mapping",
    "spec_for",
]
