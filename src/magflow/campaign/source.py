"""YAML text to plain data that remembers its lines; what a campaign file does not need is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent, ScalarEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.parser import Parser

from magflow.errors import InputError

MAX_BYTES = 1_000_000
MAX_DEPTH = 20

Key = tuple[str | int, ...]
"""Path of one value: keys of mappings, indices of lists."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a campaign file."""

    line: int
    key: str
    seen: str
    expected: str
    hint: str | None = None

    def text(self, file: str) -> str:
        """``FILE:LINE key: seen ...; expected ...; hint: ...``."""
        key = f" {self.key}" if self.key else ""
        hint = f"; hint: {self.hint}" if self.hint else ""
        return f"{file}:{self.line}{key}: seen {self.seen}; expected {self.expected}{hint}"


class CampaignFileError(InputError):
    """Everything that is wrong in one campaign file, one line each."""

    def __init__(self, file: str, problems: tuple[Problem, ...]) -> None:
        self.file = file
        self.problems = tuple(sorted(problems, key=lambda p: p.line))
        super().__init__("the campaign file is not valid", where=file, seen=f"{len(problems)} problems")

    def __str__(self) -> str:
        return "\n".join(problem.text(self.file) for problem in self.problems)

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.file, self.problems))


@dataclass(frozen=True)
class Source:
    """Plain data and the line each value stands on."""

    data: Any
    lines: dict[Key, int] = field(default_factory=dict)

    def line(self, key: Key) -> int:
        """Line of `key`, or of its nearest ancestor that is in the file."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)


def read_source(path: str | Path) -> Source:
    """Read a YAML file.

    Raises
    ------
    InputError
        If the file is absent, unreadable, too large or not text.
    CampaignFileError
        If it is not YAML, holds a tag, an alias, a key twice, a number that is not finite, or nests too deep.
    """
    path = Path(path)
    try:
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            raise InputError("the file is too large", where=str(path), expected=f"at most {MAX_BYTES} bytes")
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(
            "no such file", where=str(path), hint="`magflow init` writes a commented campaign file"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError("the file is not text", where=str(path), expected="YAML in UTF-8") from error
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    return parse_source(text, str(path))


def parse_source(text: str, name: str) -> Source:
    """As :func:`read_source`, from text."""

    def refuse(line: int, seen: str, expected: str, hint: str | None = None) -> CampaignFileError:
        return CampaignFileError(name, (Problem(line, "", seen, expected, hint),))

    reader = YAML(typ="safe", pure=True)
    reader.Parser = partial(_GuardedParser, refuse)
    try:
        root = reader.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        seen = str(error.problem or error.context or "something that is not YAML")
        raise refuse(mark.line + 1 if mark else 1, seen, "YAML", "look at quotes, colons and indentation") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise refuse(1, " ".join(str(error).split())[:120], "YAML") from error
    if not isinstance(root, MappingNode):
        raise refuse(1, "no keys" if root is None else f"a {_kind(root)}", "a mapping of sections")
    builder = _Builder()
    data = builder.value(root, ())
    if builder.problems:
        raise CampaignFileError(name, tuple(builder.problems))
    return Source(data, builder.lines)


class _GuardedParser(Parser):
    """A parser that stops at the first thing that could make a small file large, deep or dangerous.

    What takes its events builds as it takes them, so nothing of the kind is ever built.
    """

    def __init__(self, refuse: Callable[..., CampaignFileError], loader: Any) -> None:
        super().__init__(loader)
        self._refuse = refuse
        self._depth = 0

    def get_event(self) -> Any:
        event = super().get_event()
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent):
            raise self._refuse(line, f"the alias *{event.anchor}", "plain values", "write the value out")
        if isinstance(event, CollectionStartEvent):
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise self._refuse(line, f"values nested deeper than {MAX_DEPTH}", "a campaign file")
        if isinstance(event, CollectionEndEvent):
            self._depth -= 1
        tag = getattr(event, "tag", None) if isinstance(event, NodeEvent) else None
        implicit = any(event.implicit) if isinstance(event, ScalarEvent) else getattr(event, "implicit", True)
        if tag and not implicit:
            raise self._refuse(line, f"the tag {tag}", "plain values without tags", "remove the tag")
        return event


def _kind(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "mapping"
    return "list" if isinstance(node, SequenceNode) else "single value"


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond all floats
        return False


class _Builder:
    """Nodes to data, with lines; collects what is wrong instead of stopping at the first."""

    def __init__(self) -> None:
        self.lines: dict[Key, int] = {}
        self.problems: list[Problem] = []

    def value(self, node: Node, key: Key) -> Any:
        self.lines.setdefault(key, node.start_mark.line + 1)
        if isinstance(node, MappingNode):
            return self._mapping(node, key)
        if isinstance(node, SequenceNode):
            return [self.value(child, (*key, i)) for i, child in enumerate(node.value)]
        return self._scalar(str(node.value), str(node.tag), key)

    def _mapping(self, node: MappingNode, key: Key) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name_node, child in node.value:
            line = name_node.start_mark.line + 1
            if not isinstance(name_node, ScalarNode):
                self.problems.append(Problem(line, dotted(key), f"a {_kind(name_node)} as a key", "a name"))
                continue
            name = str(name_node.value)
            if name in out:
                first = self.lines[*key, name]
                self.problems.append(
                    Problem(line, dotted((*key, name)), f"the key again (first on line {first})", "each key once")
                )
                continue
            self.lines[*key, name] = line
            out[name] = self.value(child, (*key, name))
        return out

    def _scalar(self, text: str, tag: str, key: Key) -> Hashable:
        kind = tag.rsplit(":", 1)[-1]
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind not in ("int", "float"):
            return text
        try:
            number = int(text, 0) if kind == "int" else float(text.replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            try:
                number = int(text)
            except ValueError:
                return text
        if not _is_finite(number):
            self.problems.append(Problem(self.lines[key], dotted(key), text, "a finite number"))
            return None
        return number


def dotted(key: Key) -> str:
    """``system.prototypes[0].name``."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
