"""Single changes of a source file, each a fault that somebody could make: found in its syntax tree.

Left out is what no test should notice: texts, annotations, decorators, logging, assertions.
"""

import ast
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt},
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In},
}
#: Switches of libraries and of the language: the tests are not about these.
SWITCHES = {"strict", "daemon", "exist_ok", "missing_ok", "frozen", "slots", "eq", "cache", "copy"}
TEXT_METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
CLAMPS = {"min", "max", "minimum", "maximum"}
#: Functions that give the same whichever of two values comes first.
SYMMETRIC = {*CLAMPS, "hypot"}
LOCK = re.compile(r"lock|mutex|condition|_work$|_due$")
AXES = re.compile(r"(?<![a-z])[xy](?![a-z])")


@dataclass(frozen=True)
class Change:
    """Bytes `first` to `last` of a file, replaced by `text`."""

    path: str  # below the root of the project
    kind: str
    where: str  # qualified name of the function or class
    line: int
    first: int
    last: int
    text: str

    def apply(self, source: bytes) -> bytes:
        """The source with the change."""
        return source[: self.first] + self.text.encode() + source[self.last :]


class _Finder(ast.NodeVisitor):
    """Collects the changes of one file."""

    def __init__(self, path: str, source: bytes) -> None:
        self.path, self.source = path, source
        lengths = [len(line) for line in source.splitlines(keepends=True)]
        self.starts = [sum(lengths[:number]) for number in range(len(lengths) + 1)]
        self.names: list[str] = []
        self.found: list[Change] = []

    # What is left out

    def visit_Assert(self, node: ast.Assert) -> None: ...

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None: ...

    def visit_Import(self, node: ast.Import) -> None: ...

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None: ...

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        if len(values) == 1 or len({ast.dump(each) for each in values}) > 1:
            for target in node.targets:  # names of equal values may change places
                self.visit(target)
        self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None: ...

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._within(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name not in ("__repr__", "__str__", "__init_subclass__"):
            for default in (*node.args.defaults, *node.args.kw_defaults):
                if default is not None:
                    self.visit(default)
            self._within(node)

    def _within(self, node: ast.ClassDef | ast.FunctionDef) -> None:
        self.names.append(node.name)
        self._block(node.body)
        self.names.pop()

    def visit_Raise(self, node: ast.Raise) -> None:
        self._add("raise", node, "pass")

    # What is changed

    def visit_Module(self, node: ast.Module) -> None:
        self._block(node.body)

    def visit_If(self, node: ast.If) -> None:
        test = ast.unparse(node.test)
        if "TYPE_CHECKING" in test or "__name__" in test:
            return
        self.visit(node.test)
        self._block(node.body)
        self._block(node.orelse)

    def visit_For(self, node: ast.For) -> None:
        self.visit(node.iter)
        self._block(node.body)
        self._block(node.orelse)

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._block(node.body)
        self._block(node.orelse)

    def visit_Try(self, node: ast.Try) -> None:
        for block in (node.body, *(each.body for each in node.handlers), node.orelse):
            self._block(block)
        self._block(node.finalbody)

    def visit_With(self, node: ast.With) -> None:
        expression = ast.unparse(node.items[0].context_expr)
        if len(node.items) == 1 and node.items[0].optional_vars is None and LOCK.search(expression):
            first = self._offset(node.lineno, node.col_offset)
            self._put("lock", node, first, self._end(node.items[0].context_expr), "if True")
        for item in node.items:
            self.visit(item.context_expr)
        self._block(node.body)

    def _block(self, body: list[ast.stmt]) -> None:
        for place, statement in enumerate(body):
            if _is_text(statement):
                continue
            if _may_go(statement):
                self._add("statement", statement, "pass")
            if isinstance(statement, ast.If) and place + 1 < len(body):
                last = statement.body[-1]
                if isinstance(last, ast.Return):
                    self._add("return", last, "pass")
            self.visit(statement)

    def visit_Compare(self, node: ast.Compare) -> None:
        other = COMPARISONS.get(type(node.ops[0]))
        if other is not None:
            ops = [other(), *node.ops[1:]]
            self._add("comparison", node, ast.Compare(node.left, ops, node.comparators))
        for operator, index in zip(node.ops[1:], range(1, len(node.ops)), strict=True):
            if (other := COMPARISONS.get(type(operator))) is not None:
                ops = [*node.ops[:index], other(), *node.ops[index + 1 :]]
                self._add("comparison", node, ast.Compare(node.left, ops, node.comparators))
        self.visit(node.left)
        for operator, operand in zip(node.ops, node.comparators, strict=True):
            among = isinstance(operator, ast.In | ast.NotIn) and isinstance(operand, ast.Tuple)
            for each in operand.elts if among else [operand]:  # whose order says nothing
                self.visit(each)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self._add("and/or", node, ast.BoolOp(other, node.values))
        for index, value in enumerate(node.values):
            if not any(isinstance(each, ast.NamedExpr) for each in ast.walk(value)):
                rest = node.values[:index] + node.values[index + 1 :]
                half = rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
                self._add("half", node, half)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._add("not", node, node.operand)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._add("constant", node, ast.Constant(not value))
        elif isinstance(value, int):
            self._add("constant", node, ast.Constant(value + 1))
            if value > 1:
                self._add("constant", node, ast.Constant(value - 1))
        elif isinstance(value, float):
            self._add("constant", node, ast.Constant(value * 2 if value else 1.0))
            self._add("constant", node, ast.Constant(value / 2 if value else -1.0))

    def visit_Call(self, node: ast.Call) -> None:
        if _name(node.func) in ("Option", "Argument", "TypeVar", "getLogger"):
            return
        if _name(node.func) == "len":  # columns are of one length
            return
        if _name(node.func) in CLAMPS and len(node.args) == 2 and not node.keywords:
            for each in node.args:
                if not isinstance(each, ast.Starred | ast.GeneratorExp):
                    self._add("clamp", node, each)
        if _name(node.func) == "clip" and isinstance(node.func, ast.Attribute) and node.args:
            self._add("clamp", node, node.args[0])
        if _name(node.func) == "sorted" and len(node.args) == 1:
            self._add("sort", node, ast.Call(ast.Name("list"), node.args, []))
        if _name(node.func) not in SYMMETRIC:
            self._swap(node.args)
        self.visit(node.func)
        for argument in node.args:
            self.visit(argument)
        for keyword in node.keywords:
            if keyword.arg not in SWITCHES:
                self.visit(keyword.value)

    def visit_Tuple(self, node: ast.Tuple) -> None:
        self._swap(node.elts)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in ("x", "y") and isinstance(node.ctx, ast.Load):
            other = "y" if node.attr == "x" else "x"
            self._add("x/y", node, ast.Attribute(node.value, other))
        self.generic_visit(node)

    def _swap(self, row: list[ast.expr]) -> None:
        for one, two in itertools.pairwise(row):
            mirrored = AXES.sub(lambda axis: "y" if axis[0] == "x" else "x", ast.unparse(one))
            if mirrored == ast.unparse(two) != ast.unparse(one):
                text = f"{ast.unparse(two)}, {ast.unparse(one)}"
                self._put("x/y", one, self._start(one), self._end(two), text)

    # Bytes

    def _offset(self, line: int, column: int) -> int:
        return self.starts[line - 1] + column

    def _start(self, node: ast.expr | ast.stmt) -> int:
        return self._offset(node.lineno, node.col_offset)

    def _end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._offset(node.end_lineno, node.end_col_offset)

    def _add(self, kind: str, node: ast.expr | ast.stmt, new: ast.expr | str) -> None:
        if isinstance(new, str):
            text = new
        else:
            text = ast.unparse(ast.fix_missing_locations(new))
            if isinstance(new, ast.BoolOp | ast.IfExp | ast.Compare) and kind != "comparison":
                text = f"({text})"
        self._put(kind, node, self._start(node), self._end(node), text)

    def _put(self, kind: str, node: ast.expr | ast.stmt, first: int, last: int, text: str) -> None:
        where = ".".join(self.names)
        self.found.append(Change(self.path, kind, where, node.lineno, first, last, text))


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _is_text(statement: ast.stmt) -> bool:
    """Docstrings, and calls that only log."""
    if not isinstance(statement, ast.Expr):
        return False
    value = statement.value
    if isinstance(value, ast.Call):
        return _name(value.func) in TEXT_METHODS and isinstance(value.func, ast.Attribute)
    return isinstance(value, ast.Constant)


def _may_go(statement: ast.stmt) -> bool:
    """Whether the file still runs without the statement, so that only a test can tell."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Call)
    if isinstance(statement, ast.Assign):
        return all(isinstance(each, ast.Attribute | ast.Subscript) for each in statement.targets)
    return isinstance(statement, ast.AugAssign | ast.Delete | ast.Continue | ast.Break)


def changes(root: Path, path: Path) -> list[Change]:
    """All changes of one file; some do not parse or say the same, see `is_real`."""
    source = path.read_bytes()
    finder = _Finder(str(path.relative_to(root)), source)
    finder.visit(ast.parse(source))
    return finder.found


def is_real(root: Path, change: Change) -> bool:
    """Whether a change leaves another program; a bare operand can lack parentheses."""
    source = (root / change.path).read_bytes()
    try:
        after = ast.parse(change.apply(source))
    except SyntaxError:
        return False
    return ast.dump(after) != ast.dump(ast.parse(source))
