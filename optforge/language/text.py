"""Parsing of programs: limits first, then ``ast``; nothing is ever executed."""

from __future__ import annotations

import ast
import math
import re
import warnings

from optforge.errors import ProgramError
from optforge.language.functions import ALIASES, FUNCTIONS
from optforge.language.program import Program, Statement

MAX_CHARACTERS = 100_000
MAX_LINE = 1_000
MAX_NESTING = 32
MAX_STATEMENTS = 1_000
MAX_NAME = 64

_INFIX = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}
_INFIX |= {ast.Pow: "power"}
_STRANGE = re.compile(r"[^\t\x20-\x7e]")


def parse(text: str) -> Program:
    """Parse a program from its Python-like text.

    Nested and infix text is flattened: each function application becomes one statement.

    Args:
        text: One ``def`` with assignments and a final ``return``; comments are allowed.

    Returns:
        The program; printing it and parsing it again returns an equal one.

    Raises:
        ProgramError: If the text is not a program; the message has the line and the reason.

    Example:
        >>> program = parse("def train(w, g, m, lr):\\n"
        ...                 "    m = interp(g, m, 0.9)\\n"
        ...                 "    return lr * 0.1 * m, m")
        >>> [statement.text for statement in program.statements]
        ['m = interp(g, m, 0.9)', 't1 = lr * 0.1', 't2 = t1 * m']
    """
    if not isinstance(text, str):
        raise ProgramError(f"a program is a text; this is of type {type(text).__name__}")
    code = _checked_code(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd literals; they are refused below
            tree = ast.parse(code)
    except SyntaxError as error:
        raise ProgramError(f"not a valid program: {error.msg}", error.lineno or 1) from None
    except (ValueError, RecursionError, MemoryError) as error:
        lines = code.split("\n")  # the parser gives up without naming a line: take the longest
        line = lines.index(max(lines, key=len)) + 1
        reason = str(error) or "nested too deep"
        raise ProgramError(f"not a valid program: {reason}", line) from None
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.FunctionDef):
        wrong = tree.body[0] if tree.body else None
        if isinstance(wrong, ast.FunctionDef):
            wrong = tree.body[1]
        raise ProgramError(
            "a program is exactly one 'def train(weight, gradient, states..., lr):', nothing else",
            getattr(wrong, "lineno", 1),
        )
    return _Reader(tree.body[0]).program()


def _checked_code(text: str) -> str:
    """Remove comments and enforce limits of size, line and nesting before ``ast`` sees the text."""
    if len(text) > MAX_CHARACTERS:
        raise ProgramError(
            f"the text has {len(text)} characters; at most {MAX_CHARACTERS} are allowed",
            text.count("\n", 0, MAX_CHARACTERS) + 1,
        )
    lines, depth = [], 0
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        line = line.partition("#")[0]
        depth = _check_line(line, number, depth)
        lines.append(line)
    if len(lines) > 2 * MAX_STATEMENTS:
        raise ProgramError(
            f"the text has {len(lines)} lines; a program has at most {MAX_STATEMENTS} statements",
            2 * MAX_STATEMENTS + 1,
        )
    return "\n".join(lines)


def _check_line(line: str, number: int, depth: int) -> int:
    if strange := _STRANGE.search(line):
        raise ProgramError(
            f"character {strange.group()!a} is not allowed; programs are written in ASCII", number
        )
    if len(line) > MAX_LINE:
        raise ProgramError(
            f"the line has {len(line)} characters; at most {MAX_LINE} are allowed", number
        )
    if quote := re.search("[\"'`\\\\;]", line):
        raise ProgramError(f"{quote.group()!r} is not allowed in a program", number)
    if depth:
        raise ProgramError("a statement must not go over several lines", number)
    deepest = 0
    for character in line:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    if deepest > MAX_NESTING:
        raise ProgramError(
            f"brackets are nested {deepest} deep; at most {MAX_NESTING} levels are allowed", number
        )
    return max(depth, 0)


class _Reader:
    """Turns the checked tree of one function into a flat program."""

    def __init__(self, definition: ast.FunctionDef) -> None:
        self.definition = definition
        self.statements: list[Statement] = []
        self.parameters = self._parameters()
        self.defined = set(self.parameters)
        self.used = self.defined | {
            node.id for node in _nodes(definition) if isinstance(node, ast.Name)
        }
        self.temporaries = 0

    def program(self) -> Program:
        *body, last = self.definition.body
        for node in body:
            self._assignment(node)
        if not isinstance(last, ast.Return) or last.value is None:
            raise ProgramError("the last line must be 'return update, states...'", last.lineno)
        values = last.value.elts if isinstance(last.value, ast.Tuple) else [last.value]
        outputs = tuple(self._output(value) for value in values)
        try:
            return Program(self.parameters, tuple(self.statements), outputs)
        except ProgramError as error:
            raise ProgramError(error.reason, last.lineno) from None

    def _parameters(self) -> tuple[str, ...]:
        a, line = self.definition.args, self.definition.lineno
        plain = not (a.posonlyargs or a.kwonlyargs or a.vararg or a.kwarg or a.defaults)
        if not plain or any(p.annotation for p in a.args) or self.definition.returns:
            raise ProgramError("parameters are plain names: no defaults, stars, annotations", line)
        if self.definition.decorator_list:
            raise ProgramError("decorators are not allowed", line)
        if getattr(self.definition, "type_params", None):  # `def train[T](...)`, Python 3.12
            raise ProgramError("type parameters are not allowed", line)
        names = tuple(p.arg for p in a.args)
        for number, name in enumerate(names):
            _check_name(name, line)
            if name in names[:number]:
                raise ProgramError(f"parameter {name!r} is named twice; names must differ", line)
        try:  # the number of parameters is checked with that many outputs, for a clear line
            Program(names, (), names[1:-1] if len(names) > 2 else ())
        except ProgramError as error:
            raise ProgramError(error.reason, line) from None
        return names

    def _assignment(self, node: ast.stmt) -> None:
        if not isinstance(node, ast.Assign):
            raise ProgramError(
                f"{_described(node)} is not allowed; a statement is 'name = function(...)'",
                node.lineno,
            )
        target = node.targets[0]
        if len(node.targets) > 1 or not isinstance(target, ast.Name):
            raise ProgramError("a statement assigns to exactly one name", node.lineno)
        _check_name(target.id, node.lineno)
        value = _constant(node.value)
        if value is not None or isinstance(node.value, ast.Name):
            raise ProgramError(
                "the statement applies no function; use the value itself where it is needed",
                node.lineno,
            )
        self._apply(node.value, target.id)

    def _output(self, node: ast.expr) -> str:
        if _constant(node) is not None:
            raise ProgramError("a constant cannot be returned", node.lineno)
        value = self._value(node)
        assert isinstance(value, str)
        return value

    def _value(self, node: ast.expr) -> str | float:
        if isinstance(node, ast.Name):
            if node.id not in self.defined:
                raise ProgramError(
                    f"{node.id!r} is used before it is defined; known here: "
                    f"{', '.join(sorted(self.defined)[:12])}",
                    node.lineno,
                )
            return node.id
        value = _constant(node)
        return self._apply(node, None) if value is None else value

    def _apply(self, node: ast.expr, target: str | None) -> str:
        function, arguments = _application(node)
        values = tuple(self._value(argument) for argument in arguments)
        name = target if target is not None else self._temporary()
        if len(self.statements) >= MAX_STATEMENTS:
            raise ProgramError(
                f"the program has more than the {MAX_STATEMENTS} statements that are allowed",
                node.lineno,
            )
        self.statements.append(Statement(name, function, values))
        self.defined.add(name)
        return name

    def _temporary(self) -> str:
        while True:
            self.temporaries += 1
            name = f"t{self.temporaries}"
            if name not in self.used:
                return name


def _nodes(definition: ast.FunctionDef) -> list[ast.AST]:
    """Return all nodes without recursion; reject trees that are too deep."""
    nodes, level, depth = [], [ast.AST(), definition], 0
    while level:
        nodes += level
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        depth += 1
        if depth > 4 * MAX_NESTING:
            line = next((n.lineno for n in reversed(nodes) if isinstance(n, ast.expr)), None)
            raise ProgramError(
                f"the expression is nested too deep or too long; at most {4 * MAX_NESTING} levels "
                "are allowed: split it into several statements",
                line,
            )
    return nodes


def _application(node: ast.expr) -> tuple[str, list[ast.expr]]:
    if isinstance(node, ast.BinOp) and type(node.op) in _INFIX:
        return _INFIX[type(node.op)], [node.left, node.right]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return "negative", [node.operand]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _call(node, node.func.id)
    raise ProgramError(
        f"{_described(node)} is not allowed; a value is a name, a number, a function call or "
        "one of + - * / **",
        node.lineno,
    )


def _call(node: ast.Call, written: str) -> tuple[str, list[ast.expr]]:
    function = FUNCTIONS.get(ALIASES.get(written, written))
    if function is None:
        raise ProgramError(
            f"unknown function {written!r}; allowed are {', '.join(FUNCTIONS)}", node.lineno
        )
    if node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
        raise ProgramError(f"{written} takes plain arguments: no keywords, no stars", node.lineno)
    if len(node.args) != function.arity:
        raise ProgramError(
            f"{written} got {len(node.args)} arguments; it takes {function.arity}", node.lineno
        )
    return function.name, node.args


def _constant(node: ast.expr) -> float | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = node.operand
        value = _constant(inner) if isinstance(inner, ast.Constant) else None
        return None if value is None else -value
    if not isinstance(node, ast.Constant):
        return None
    if not isinstance(node.value, int | float) or isinstance(node.value, bool):
        raise ProgramError(
            f"{type(node.value).__name__} constants are not allowed; use a number", node.lineno
        )
    try:
        value = float(node.value)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise ProgramError("a constant must be a finite number", node.lineno)
    return value


def _check_name(name: str, line: int) -> None:
    if len(name) > MAX_NAME:
        raise ProgramError(f"a name has at most {MAX_NAME} characters, not {len(name)}", line)


def _described(node: ast.AST) -> str:
    names = {"AugAssign": "an augmented assignment", "Expr": "an expression without a target"}
    names |= {"Import": "an import", "ImportFrom": "an import", "Attribute": "an attribute"}
    names |= {"Lambda": "a lambda", "Call": "a call of something that is not a named function"}
    return names.get(type(node).__name__, f"a Python {type(node).__name__.lower()}")
