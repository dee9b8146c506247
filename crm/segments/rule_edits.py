"""Edits of a segment's rule in the builder: add, remove, turn and negate a part, found by its path. Pure.

A path is the places of the groups down to a part: (1, 0) is the first part of the second part. NOT adds no place.
"""

from collections.abc import Callable

from crm.core.errors import Conflict
from crm.segments.rules import All, AnyOf, Node, Not

Path = tuple[int, ...]


def path_from(text: str) -> Path:
    """Read a path such as "1.0"; the empty text is the whole rule. Raises Conflict."""
    parts = text.split(".") if text else []
    if len(parts) > 10 or not all(part.isascii() and part.isdigit() and len(part) < 4 for part in parts):
        raise Conflict("This part of the rule was not found.")
    return tuple(int(part) for part in parts)


def add(rule: Node, path: Path, part: Node) -> Node:
    """Add a part at the end of the group at `path`."""
    return _changed(rule, path, lambda node: _grouped(node, lambda parts: (*parts, part)))


def remove(rule: Node, path: Path) -> Node:
    """Remove the part at `path`."""
    if not path:
        raise Conflict("The whole rule cannot be removed.")
    *above, place = path

    def removed(parts: tuple[Node, ...]) -> tuple[Node, ...]:
        if place >= len(parts):
            raise Conflict("This part of the rule was not found.")
        return parts[:place] + parts[place + 1 :]

    return _changed(rule, tuple(above), lambda node: _grouped(node, removed))


def turn(rule: Node, path: Path) -> Node:
    """Turn a group of "all" into one of "any", or back."""

    def turned(node: Node) -> Node:
        match node:
            case All(parts):
                return AnyOf(parts)
            case AnyOf(parts):
                return All(parts)
            case Not(part):
                return Not(turned(part))
            case _:
                return node

    return _changed(rule, path, turned)


def negate(rule: Node, path: Path) -> Node:
    """Put NOT before a part, or remove it."""
    return _changed(rule, path, lambda node: node.part if isinstance(node, Not) else Not(node))


def _changed(node: Node, path: Path, edit: Callable[[Node], Node]) -> Node:
    if not path:
        return edit(node)
    place, *below = path

    def one_changed(parts: tuple[Node, ...]) -> tuple[Node, ...]:
        if place >= len(parts):
            raise Conflict("This part of the rule was not found.")
        return (*parts[:place], _changed(parts[place], tuple(below), edit), *parts[place + 1 :])

    return _grouped(node, one_changed)


def _grouped(node: Node, edit: Callable[[tuple[Node, ...]], tuple[Node, ...]]) -> Node:
    match node:
        case All(parts):
            return All(edit(parts))
        case AnyOf(parts):
            return AnyOf(edit(parts))
        case Not(part):
            return Not(_grouped(part, edit))
        case _:
            raise Conflict("This part of the rule is not a group.")
