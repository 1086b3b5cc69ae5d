"""singer-sdk's stream maps: checked before a record meets them, and lenient with sparse records."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Mapping
from fnmatch import fnmatch
from importlib.util import find_spec
from typing import Any, cast

from singer_sdk.mapper import NULL_STRING, CustomStreamMap, PluginMapper, StreamMap, _MapperEval

from target_fullstory.errors import ConfigurationError, did_you_mean
from target_fullstory.mapping import Rejected

_OPTIONS = ("__alias__", "__else__", "__filter__", "__key_properties__", "__source__")
_RECORD = ("_", "record")
_NAMES = frozenset({*_RECORD, "config", "__stream_name__", "__original_stream_name__"})


class StreamMaps:
    """The setting `stream_maps`, held against each stream's SCHEMA."""

    def __init__(
        self, mapper: PluginMapper, is_mapped: Callable[[str], bool], known_streams: Collection[str] | None
    ) -> None:
        """Check what can be checked without a SCHEMA; `is_mapped` tells whether a stream's records count.

        `known_streams` are the streams that have a mapping, None where others are ignored.

        Raises:
            ConfigurationError: An expression cannot be parsed, an option is not known, or no stream of that
                name could be loaded.
        """
        self._mapper = mapper
        self._is_mapped = is_mapped
        self._maps: dict[str, Any] = mapper.stream_maps_dict
        self._streams: set[str] = set()
        for name, written in self._maps.items():
            if not isinstance(written, dict):
                continue  # a stream that is left out
            for option in written:
                if option.startswith("__") and option.endswith("__") and option not in _OPTIONS:
                    hint = did_you_mean(option, _OPTIONS)
                    raise ConfigurationError(
                        f"stream_maps.{name}.{option} is no option of a stream map{hint}"
                    )
            for column, expression in _expressions(written):
                _check_syntax(f"stream_maps.{name}.{column}", expression)
            if "__alias__" in written:
                _check_syntax(f"stream_maps.{name}.__alias__", written["__alias__"])
            elif known_streams is not None and not (_is_pattern(name) or is_mapped(name)):
                # Were there such a stream, the run would end for want of a mapping.
                hint = did_you_mean(name, known_streams)
                raise ConfigurationError(f"stream_maps.{name}: no stream {name!r} has a mapping{hint}")

    def register(self, stream: str, schema: dict[str, Any], keys: list[str]) -> list[StreamMap]:
        """Check the stream maps of a stream by its SCHEMA, and compile them.

        Raises:
            ConfigurationError: A column is not in the SCHEMA, or flattening makes two columns of one name.
        """
        self._streams.add(stream)
        columns = schema["properties"]
        for name, written in self._of(stream):
            if columns and isinstance(written, dict) and self._counts(stream, name, written):
                self._check(f"stream_maps.{name}", stream, written, columns)
        try:
            self._mapper.register_raw_stream_schema(stream, schema, keys)
        except ValueError as error:
            raise ConfigurationError(
                f"Stream {stream!r} cannot be flattened: {error}. Set another flattening_separator."
            ) from None
        except (TypeError, AttributeError, LookupError) as error:
            raise ConfigurationError(
                f"The stream map of stream {stream!r} cannot be applied ({type(error).__name__}); check its "
                "__alias__."
            ) from None
        stream_maps = self._mapper.stream_maps[stream]
        for stream_map in stream_maps:
            if not isinstance(stream_map.stream_alias, str):
                raise ConfigurationError(
                    f"The __alias__ of stream {stream!r} is not text; write it in quotes of its own: \"'…'\"."
                )
        made_by = {text: name for _, written in self._of(stream) for name, text in _expressions(written)}
        for stream_map in stream_maps:
            if isinstance(stream_map, CustomStreamMap):
                stream_map.expr_evaluator = _SparseEvaluator(stream_map.functions, columns, made_by)
        return stream_maps

    def names_of(self, source: str) -> list[str]:
        """The names under which the records of one of the tap's streams go on."""
        return [one.stream_alias for one in self._mapper.stream_maps.get(source, [])]

    def unused(self) -> Iterator[str]:
        """One sentence for each stream map whose stream has not come."""
        for name, written in self._maps.items():
            source = _source(name, written)
            if not any(_fits(stream, source) for stream in self._streams):
                hint = did_you_mean(source, sorted(self._streams))
                yield f"stream_maps.{name} has no effect: the tap sent no stream {source!r}{hint}"

    def apply_to(self, stream: str) -> bool:
        """Whether there is one for a stream of the tap."""
        return any(True for _ in self._of(stream))

    def may_join(self, alias: str) -> bool:
        """Whether they may give several of the tap's streams one and the same name, as far as is written."""
        sources: list[str] = []
        for name, written in self._maps.items():
            if isinstance(written, dict) and _written_alias(name, written) == alias:
                sources.append(_source(name, written))
        return len(sources) > 1 or any(map(_is_pattern, sources))

    def _counts(self, stream: str, name: str, written: dict[str, Any]) -> bool:
        return "__alias__" in written or self._is_mapped(name if "__source__" in written else stream)

    def _of(self, stream: str) -> Iterator[tuple[str, Any]]:
        for name, written in self._maps.items():
            if _fits(stream, _source(name, written)):
                yield name, written

    def _check(self, where: str, stream: str, written: dict[str, Any], columns: dict[str, Any]) -> None:
        def refuse(key: str, name: str, known: Collection[str]) -> None:
            problem = f"the SCHEMA of stream {stream!r} has no column {name!r}{did_you_mean(name, known)}"
            raise ConfigurationError(f"{where}.{key}: {problem}")

        is_one_stream = stream == _source(where.partition(".")[2], written)
        made = {name for name, value in written.items() if value not in (None, NULL_STRING)}
        for name, value in written.items():
            removed = name not in _OPTIONS and value in (None, NULL_STRING)
            if removed and is_one_stream and not _is_there(name, columns):
                refuse(name, name, columns)
        for name in written.get("__key_properties__") or ():
            if not _is_there(name, columns) and name not in made:
                refuse("__key_properties__", name, [*columns, *made.difference(_OPTIONS)])
        functions = {*cast(Any, CustomStreamMap.functions).fget(None), "list", "tuple", "dict", "set"}
        for key, expression in _expressions(written):
            names = _NAMES | functions | ({"self"} if key in columns else set())
            names |= {"fake"} if find_spec("faker") else set()
            config = self._mapper.map_config or {}
            for name, container in _names_in(_check_syntax(f"{where}.{key}", expression)):
                if container == "config":
                    if name not in config:
                        hint = did_you_mean(name, config)
                        raise ConfigurationError(f"{where}.{key}: stream_map_config has no {name!r}{hint}")
                elif name == "fake" and not container and name not in {*columns, *names}:
                    raise ConfigurationError(f"{where}.{key}: `fake` needs the Python package faker")
                elif not _is_there(name, columns) and (container or name not in names):
                    refuse(key, name, columns if container else [*columns, *sorted(functions)])


def _is_pattern(name: str) -> bool:
    return any(character in name for character in "*?[")


def rejection_of(error: Exception, stream_map: StreamMap) -> Rejected:
    """Why a record is rejected for which a stream map failed; no more of the error, which may tell values."""
    evaluator = stream_map.expr_evaluator if isinstance(stream_map, CustomStreamMap) else None
    column = evaluator.column if isinstance(evaluator, _SparseEvaluator) else None
    reason = f"its stream map fails ({type(error.__cause__ or error).__name__})"
    if column in (None, "__filter__"):
        return Rejected("stream_map_error", f"{column or 'record'}: {reason}")
    return Rejected("stream_map_error", f"column {column}: {reason}", column)


class _SparseEvaluator(_MapperEval):
    """A column that a record lacks is null to an expression."""

    def __init__(self, functions: dict[str, Any], columns: Collection[str], made_by: dict[str, str]) -> None:
        super().__init__(functions=functions)
        self._columns = columns
        self._made_by = made_by

    @property
    def column(self) -> str | None:
        """The column or option whose expression was evaluated last."""
        return self._made_by.get(self.expr)

    def _eval_name(self, node: ast.Name) -> Any:
        if node.id not in self.names and (node.id == "self" or _is_there(node.id, self._columns)):
            return None
        return super()._eval_name(node)

    def _eval_subscript(self, node: ast.Subscript) -> Any:
        if isinstance(node.slice, ast.Constant) and self._lacks(node.value, node.slice.value):
            return None
        return super()._eval_subscript(node)

    def _eval_attribute(self, node: ast.Attribute) -> Any:
        return None if self._lacks(node.value, node.attr) else super()._eval_attribute(node)

    def _lacks(self, container: ast.expr, name: Any) -> bool:
        is_record = isinstance(container, ast.Name) and container.id in _RECORD
        return is_record and name not in self.names["record"] and _is_there(str(name), self._columns)


def _source(name: str, written: Any) -> str:
    source = written.get("__source__", name) if isinstance(written, Mapping) else name
    return str(source)


def _written_alias(name: str, written: dict[str, Any]) -> Any:
    """The name that a stream map gives; None where an expression makes it, or it gives none."""
    if "__source__" in written:
        return name
    try:
        return ast.literal_eval(written["__alias__"])
    except (LookupError, ValueError):
        return None


def _fits(stream: str, source: str) -> bool:
    return stream == source or fnmatch(stream, source)


def _is_there(name: str, columns: Collection[str]) -> bool:
    """Whether a record may have the column; taps add those of singer-sdk's metadata undeclared."""
    return name in columns or name.startswith("_sdc_")


def _expressions(written: Any) -> Iterator[tuple[str, str]]:
    """The expressions of a stream map, each with its column or option."""
    for name, value in written.items() if isinstance(written, Mapping) else ():
        if (name not in _OPTIONS or name == "__filter__") and isinstance(value, str) and value != NULL_STRING:
            yield name, value


def _check_syntax(where: str, expression: str) -> ast.Expression:
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "it is too long or cannot be read"
        raise ConfigurationError(f"{where}: {expression!r:.200} is no expression: {reason}") from None
    known = tuple(_MapperEval().nodes)
    for node in ast.walk(tree.body):
        if isinstance(node, ast.expr) and not isinstance(node, (*known, ast.Starred)):
            problem = f"{type(node).__name__} is not available in a stream map"
            raise ConfigurationError(f"{where}: {expression!r:.200}: {problem}")
    return tree


def _names_in(tree: ast.Expression) -> Iterator[tuple[str, str]]:
    """The names that an expression reads, each with the container that it is read from, if any."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    own = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in own:
            yield node.id, ""
        if not isinstance(node, ast.Subscript | ast.Attribute) or not isinstance(node.value, ast.Name):
            continue
        if node.value.id not in (*_RECORD, "config"):
            continue
        if isinstance(node, ast.Attribute):
            if not hasattr(dict, node.attr):
                yield node.attr, node.value.id
        elif isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            yield node.slice.value, node.value.id
