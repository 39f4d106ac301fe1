"""Read the assignments of a Python config file without running it."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError, collecting, shorten
from common.text_files import read_text

_MAX_BYTES = 1 << 20
_LONGEST, _LARGEST = 10_000, 1e18  # a text that was joined, a number that was computed
_ARITHMETIC: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_EASY_DICT = "EasyDict"  # of the module of the same name in lower case


def read_assignments(path: Path, table: str) -> dict[str, Any]:
    """Return what a file assigns to ``table.KEY``, in the order of the first assignment.

    Known are numbers, texts, True, False, None, lists and tuples of these, arithmetic on numbers, joining of texts, and
    what was assigned before. Imports and texts on their own are passed over.

    Raises:
        UserError: the file cannot be read, has no ``table``, or holds anything else; the message has a line for each.
    """
    if path.is_file() and path.stat().st_size > _MAX_BYTES:
        raise UserError(f"{path} has {path.stat().st_size} bytes; expected a config file")
    try:
        tree = ast.parse(read_text(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{path} is not Python: {error}; expected lines like {table}.lr = 0.1") from error
    reader, problems = _Reader(path, table), []
    for statement in tree.body:
        with collecting(problems):
            reader.take(statement)
    if not problems and not reader.has_table:
        problems.append(f"{path} assigns nothing to '{table}'; expected lines like {table}.lr = 0.1")
    if problems:
        raise UserError(*shorten(problems, "lines that are not read"))
    return reader.values


class _UnknownValue(Exception):
    """An expression needs a value whose own statement was refused."""


class _Reader:
    def __init__(self, path: Path, table: str) -> None:
        self._path = path
        self._table = table
        self._names: dict[str, Any] = {}
        self._dicts = {"edict", _EASY_DICT, "dict"}
        self.values: dict[str, Any] = {}
        self.has_table = False
        self._unknown: set[str] = set()  # assigned by statements that were refused

    def take(self, statement: ast.stmt) -> None:
        """Read a statement; one that needs the value of a refused one is passed over.

        Raises:
            UserError: it is not read.
        """
        try:
            self._take(statement)
        except _UnknownValue:
            self._unknown |= _targets(statement)
        except UserError:
            self._unknown |= _targets(statement)
            raise
        except RecursionError as error:
            raise UserError(f"{self._path}, line {statement.lineno}: an expression is nested too deeply") from error

    def _take(self, statement: ast.stmt) -> None:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            names = {alias.asname or alias.name: alias.name for alias in statement.names}
            self._dicts |= {name for name, imported in names.items() if imported == _EASY_DICT}
            self.has_table |= self._table in names
            return
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            return
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            raise self._error(statement)
        target = statement.targets[0]
        self.has_table |= self._is_table(target) or (isinstance(target, ast.Attribute) and self._is_table(target.value))
        if isinstance(target, ast.Name) and target.id == self._table:
            self.values = self._dict(statement.value)
        elif isinstance(target, ast.Name):
            self._names[target.id] = self._value(statement.value)
        elif isinstance(target, ast.Attribute) and self._is_table(target.value):
            self.values[target.attr] = self._value(statement.value)
        else:
            raise self._error(statement)

    def _is_table(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id == self._table

    def _dict(self, node: ast.expr) -> dict[str, Any]:
        """Return the entries of ``edict()``, ``edict(key=value)`` or ``edict({...})``."""
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        is_dict = called in self._dicts or called == f"{_EASY_DICT.lower()}.{_EASY_DICT}"
        if not is_dict or len(node.args) > 1 or any(keyword.arg is None for keyword in node.keywords):
            raise self._error(node)
        entries: dict[str, Any] = {}
        if node.args:
            (given,) = node.args
            if not isinstance(given, ast.Dict) or not all(isinstance(key, ast.Constant) for key in given.keys):
                raise self._error(node)
            pairs = zip(given.keys, given.values, strict=True)
            entries |= {str(key.value): self._value(value) for key, value in pairs}
        return entries | {keyword.arg: self._value(keyword.value) for keyword in node.keywords}

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float, str, type(None))):
            if _is_number(node.value) and abs(node.value) > _LARGEST:
                raise UserError(f"{self._path}, line {node.lineno}: the number is too large")
            return node.value
        if isinstance(node, (ast.List, ast.Tuple)):
            values = [self._value(element) for element in node.elts]
            if any(isinstance(value, list) for value in values):
                raise self._error(node)
            return values
        if isinstance(node, (ast.Name, ast.Attribute)) and ast.unparse(node) in self._unknown:
            raise _UnknownValue
        if isinstance(node, ast.Name) and node.id in self._names:
            return self._names[node.id]
        if isinstance(node, ast.Attribute) and self._is_table(node.value) and node.attr in self.values:
            return self.values[node.attr]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            value = self._value(node.operand)
            if _is_number(value):
                return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            return self._compute(node)
        raise self._error(node)

    def _compute(self, node: ast.BinOp) -> Any:
        a, b = self._value(node.left), self._value(node.right)
        are_texts = isinstance(a, str) and isinstance(b, str) and isinstance(node.op, ast.Add)
        if not are_texts and not (_is_number(a) and _is_number(b)):
            raise self._error(node)
        try:
            value = _ARITHMETIC[type(node.op)](a, b)
        except ArithmeticError as error:
            raise UserError(f"{self._path}, line {node.lineno}: {error}") from error
        if len(value) > _LONGEST if are_texts else abs(value) > _LARGEST:  # repeated lines could let it grow for ever
            raise UserError(f"{self._path}, line {node.lineno}: the value becomes too large")
        return value

    def _error(self, node: ast.AST) -> UserError:
        shown = " ".join(ast.unparse(node).split())[:80]
        return UserError(
            f"{self._path}, line {node.lineno}: '{shown}' is not read, because no code of the file is run; write the "
            f"value itself, as in {self._table}.lr = 0.1"
        )


def _targets(statement: ast.stmt) -> set[str]:
    return {ast.unparse(target) for target in statement.targets} if isinstance(statement, ast.Assign) else set()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
