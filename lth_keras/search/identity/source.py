"""Describes functions and classes by their source: a digest of the syntax tree, and the globals that they read."""

from __future__ import annotations

import ast
import contextlib
import dis
import functools
import hashlib
import inspect
import json
import linecache
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

_IGNORED = {"ctx", "kind", "type_comment"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class NoSourceError(ValueError):
    """The source of a function or class was not found."""


def is_library(module: str | None) -> bool:
    """Whether a module belongs to Python, Keras, this library or an installed package, so that its names suffice."""
    root = (module or "builtins").partition(".")[0]
    if root in sys.stdlib_module_names or root in ("builtins", "keras", "lth_keras"):
        return True
    loaded = sys.modules.get(root)
    places = [getattr(loaded, "__file__", None), *getattr(loaded, "__path__", ())]
    return any("site-packages" in str(place) or "dist-packages" in str(place) for place in places)


def code_of(item: FunctionType | type) -> str:
    """A digest of the syntax tree of a function's or class' source, without docstrings, file and lines.

    Raises:
        NoSourceError: if there is no source, or several functions on one line match.
    """
    node = _class_node(item) if isinstance(item, type) else _function_node(item.__code__, item.__globals__)
    return hashlib.sha256(json.dumps(_tree(node)).encode()).hexdigest()[:16]


def globals_of(item: FunctionType | type) -> dict[str, Any]:
    """The global values that a function or the methods of a class read, including attributes as `module.name`."""
    found: dict[str, Any] = {}
    for function in methods_of(item) if isinstance(item, type) else [item]:
        for name, attributes in _names_read(function.__code__):
            if name not in function.__globals__:
                continue
            value = function.__globals__[name]
            while attributes and inspect.ismodule(value) and not is_library(value.__name__):
                name, value = f"{name}.{attributes[0]}", getattr(value, attributes[0], None)
                attributes = attributes[1:]
            found[name] = value
    return dict(sorted(found.items()))


def methods_of(kind: type) -> list[FunctionType]:
    """The functions that a class itself defines, including properties and class methods."""
    found = []
    for item in vars(kind).values():
        parts = [item.fget, item.fset] if isinstance(item, property) else [getattr(item, "__func__", item)]
        found += [part for part in parts if isinstance(part, FunctionType) and part.__module__ == kind.__module__]
    made = ("__repr__", "__eq__", "__hash__")  # by dataclasses, like those of the file "<string>"
    return [part for part in found if part.__code__.co_filename != "<string>" and part.__name__ not in made]


def _names_read(code: CodeType) -> Iterator[tuple[str, list[str]]]:
    """Names of globals, each with the attributes read from it, in the code and in functions nested in it."""
    name: str | None = None
    attributes: list[str] = []
    for instruction in dis.get_instructions(code):
        if name is not None and instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            attributes.append(instruction.argval)
            continue
        if name is not None:
            yield name, attributes
        name, attributes = (instruction.argval if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME") else None), []
    if name is not None:
        yield name, attributes
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names_read(inner)


def _function_node(code: CodeType, names: dict[str, Any]) -> ast.AST:
    tree = _parsed("".join(linecache.getlines(code.co_filename, names)))
    if code.co_name == "<lambda>":
        found: list[Any] = [n for n in ast.walk(tree) if isinstance(n, ast.Lambda) and n.lineno == code.co_firstlineno]
        if len(found) > 1:
            found = sorted((node for node in found if _covers(node.body, code)), key=_size)[:1]
    else:
        found = [
            node
            for node in ast.walk(tree)
            if isinstance(node, _FUNCTIONS)
            and node.name == code.co_name
            and min([node.lineno, *(d.lineno for d in node.decorator_list)]) == code.co_firstlineno
        ]
    if len(found) != 1:
        raise NoSourceError(f"the source of {code.co_qualname} was not found")
    node: ast.AST = found[0]
    return node


def _class_node(kind: type) -> ast.AST:
    for lines in _files_of(kind):
        found = _by_path(_parsed("".join(lines)), kind.__qualname__.split("."))
        if found is not None:
            return found
    raise NoSourceError(f"the source of {kind.__qualname__} was not found")


def _files_of(kind: type) -> Iterator[list[str]]:
    """The lines of the files that may define a class."""
    for function in methods_of(kind):
        yield linecache.getlines(function.__code__.co_filename, function.__globals__)
    with contextlib.suppress(OSError, TypeError):
        yield inspect.findsource(kind)[0]


def _by_path(tree: ast.AST, path: list[str]) -> ast.AST | None:
    """The last class of this qualified name, which replaces earlier ones."""
    wanted = [part for part in path if part != "<locals>"]
    last: ast.AST | None = None

    def search(node: ast.AST, left: list[str]) -> None:
        nonlocal last
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.ClassDef, *_FUNCTIONS)):
                if child.name != left[0]:
                    continue
                if len(left) > 1:
                    search(child, left[1:])
                elif isinstance(child, ast.ClassDef):
                    last = child
            else:
                search(child, left)

    search(tree, wanted)
    return last


@functools.lru_cache(maxsize=16)
def _parsed(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError:  # e.g. a notebook cell with magic commands
        return ast.Module(body=[], type_ignores=[])


def _covers(node: Any, code: CodeType) -> bool:
    """Whether all instructions of the code lie within an expression's source."""
    begin, end = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
    places = [place for place in code.co_positions() if None not in place and (place[2], place[3]) != (0, 0)]
    inside = [begin <= (p[0], p[2]) and (p[1], p[3]) <= end for p in places]  # type: ignore[operator]
    return bool(inside) and all(inside)


def _size(node: Any) -> tuple[int, int]:
    return node.end_lineno - node.lineno, node.end_col_offset - node.col_offset


def _tree(node: Any) -> Any:
    """A syntax tree as JSON, without docstrings and positions, equal in all versions of Python."""
    if isinstance(node, list):
        return [_tree(item) for item in node]
    if isinstance(node, ast.Constant):
        return ["Constant", type(node.value).__name__, repr(node.value)]
    if not isinstance(node, ast.AST):
        return node if node is None or isinstance(node, str | int) else repr(node)
    fields = {name: getattr(node, name, None) for name in node._fields if name not in _IGNORED}
    if isinstance(node, (ast.ClassDef, *_FUNCTIONS)) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = node.body[1:]
    given = {name: _tree(value) for name, value in sorted(fields.items()) if value not in (None, [])}
    return [type(node).__name__, given]
