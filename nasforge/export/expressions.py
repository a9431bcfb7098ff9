"""Steps of a plan as lines of readable Python: expressions put into one another where that reads better.

Text is worked on as its author wrote it; the syntax tree only decides where parentheses are needed.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from nasforge.errors import NasforgeError
from nasforge.export.names import LINE_LENGTH
from nasforge.graph.plan import Step

INDENT = " " * 8
_LONGEST_PART = 72
_INPUT = "value_that_is_read_here"
_UNSURE = (ast.Lambda, ast.IfExp, ast.BoolOp, ast.Compare, ast.ListComp, ast.DictComp, ast.GeneratorExp)
_ATOMS = (ast.Name, ast.Call, ast.Attribute, ast.Subscript, ast.Constant)

Render = Callable[[Step, Sequence[str]], str]
"""From a step and the expressions of its inputs to its expression."""


class Body:
    """Writes the lines that compute some values.

    A value that is read once goes into the expression that reads it, unless it is in `keep` or long.

    Args:
        steps: what may be computed, in order.
        names: identifiers of values; those of `given` are there already.
        given: values that need no line.
        keep: values that always get a line of their own.
        render: the expression of a step.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        names: Callable[[str], str],
        given: Collection[str],
        keep: Collection[str],
        render: Render,
    ) -> None:
        self._steps, self._names, self._given, self._keep, self._render = steps, names, given, keep, render
        self._lines: list[str] = []
        self._open: dict[str, str] = {}

    def returning(self, outputs: Sequence[str]) -> list[str]:
        """The indented lines of a function that returns `outputs`, one value or a tuple."""
        steps = self._demanded(outputs)
        reads = Counter(source for step in steps for source in step.inputs) + Counter(outputs)
        for step in steps:
            text = self._combine(step, INDENT + f"{self._names(step.name)} = ")
            if reads[step.name] == 1 and step.name not in self._keep and self._short(step, text, outputs):
                self._open[step.name] = text
            else:
                self._assign(step.name, text)
        values = ", ".join(self._value(name) for name in outputs)
        return [*self._lines, f"{INDENT}return {values}"]

    def _demanded(self, outputs: Sequence[str]) -> list[Step]:
        by_name = {step.name: step for step in self._steps}
        wanted: set[str] = set()
        waiting = list(outputs)
        while waiting:
            name = waiting.pop()
            if name not in wanted and name not in self._given:
                wanted.add(name)
                waiting += by_name[name].inputs
        return [step for step in self._steps if step.name in wanted]

    def _short(self, step: Step, text: str, outputs: Sequence[str]) -> bool:
        limit = LINE_LENGTH - len(f"{INDENT}return ") if outputs == [step.name] else _LONGEST_PART
        return len(text) <= limit

    def _value(self, name: str) -> str:
        return self._open.get(name) or self._names(name)

    def _assign(self, name: str, text: str) -> None:
        self._open.pop(name, None)
        self._lines += self._calls_in_turn(self._names(name), text)

    def _calls_in_turn(self, target: str, text: str) -> list[str]:
        """``target = f(g(x), y)``; where that is too long, ``target = g(x)`` and ``target = f(target, y)``."""
        before, lines = f"{INDENT}{target} = ", []
        inner = first_argument(text)
        if len(before) + len(text) > LINE_LENGTH and inner is not None:
            lines = self._calls_in_turn(target, inner)
            head = text.index(inner, text.index("("))
            text = f"{text[:head]}{target}{text[head + len(inner) :]}"
        return [*lines, *laid_out(before, text)]

    def _combine(self, step: Step, before: str) -> str:
        """The expression of `step`; where it does not fit after `before`, its parts get lines of their own."""
        for position, source in enumerate(step.inputs):
            if source in self._open and not self._evaluates_once(step, position):
                self._assign(source, self._open[source])
        text = self._join(step)
        if len(before) + len(text) > LINE_LENGTH:
            for source in step.inputs:
                if source in self._open:
                    self._assign(source, self._open[source])
            text = self._join(step)
        if len(before) + len(text) > LINE_LENGTH and step.node.role == "merge":
            parts = [self._value(source) for source in step.inputs]
            if step.node.combine == "mean":
                states = self._names(f"{step.name}.states")
                self._lines += tuple_lines(f"{INDENT}{states} = ", parts)
                text = f"torch.stack({states}).mean(0)"
            elif step.node.combine == "sum":
                text = self._sum_in_turn(self._names(step.name), parts)
        return text

    def _sum_in_turn(self, target: str, parts: Sequence[str]) -> str:
        """A sum that is too long for a line: all lines but the last are written."""
        before, text = f"{INDENT}{target} = ", parts[0]
        for part in parts[1:]:
            if len(before) + len(text) + len(f" + {part}") > LINE_LENGTH:
                self._lines.append(before + text)
                text = target
            text += f" + {part}"
        return text

    def _evaluates_once(self, step: Step, position: int) -> bool:
        """Whether the expression of `step` computes that input exactly once, so that it may stand there in full."""
        inputs = [_INPUT if n == position else self._names(source) for n, source in enumerate(step.inputs)]
        return _n_evaluations(tree_of(self._render(step, inputs), f"node '{step.name}'")) == 1

    def _join(self, step: Step) -> str:
        parts = [self._value(source) for source in step.inputs]
        where = f"node '{step.name}'"
        texts = [part if is_atom(part) else f"({part})" for part in parts]
        meant = tree_of(self._render(step, texts), where)
        for position, part in enumerate(parts):
            bare = [*texts[:position], part, *texts[position + 1 :]]
            if bare != texts and _same(self._render(step, bare), meant):
                texts = bare
        return without_wrappers(self._render(step, texts), where)


def _n_evaluations(node: ast.AST) -> int:
    """How often `_INPUT` is computed in an expression; 2 stands for what cannot be told."""
    if isinstance(node, ast.Name):
        return int(node.id == _INPUT)
    found = sum(_n_evaluations(child) for child in ast.iter_child_nodes(node))
    return 2 if found and isinstance(node, _UNSURE) else found


def tree_of(text: str, where: str) -> ast.expr:
    """The syntax tree of one expression on one line.

    Raises:
        NasforgeError: it is something else; `where` is named.
    """
    try:
        # A comment would swallow the closing parenthesis; without the parentheses one expression must stand alone.
        ast.parse(f"({text})", mode="eval")
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise NasforgeError(f"{where}: its operation's 'source' is no expression: {text!r} ({error})") from None
    if not text.isprintable():
        raise NasforgeError(f"{where}: its operation's 'source' must give one line, gave {text!r}")
    return tree


def is_atom(text: str) -> bool:
    """Whether an expression may stand anywhere without parentheses."""
    return isinstance(ast.parse(text, mode="eval").body, _ATOMS)


def without_wrappers(text: str, where: str) -> str:
    """`text` with ``lambda u: f(u)`` written as ``f``."""
    found = [node for node in ast.walk(tree_of(text, where)) if isinstance(node, ast.Lambda) and _wraps(node)]
    data = text.encode()  # the tree counts columns in bytes of UTF-8
    for node in sorted(found, key=lambda each: each.col_offset, reverse=True):
        assert isinstance(node.body, ast.Call)
        function = ast.unparse(node.body.func).encode()
        data = data[: node.col_offset] + function + data[node.end_col_offset :]
    return data.decode()


def tuple_lines(before: str, parts: Sequence[str]) -> list[str]:
    """``before(a, b, c)`` as formatters lay it out: on one line, or each part on its own."""
    line = f"{before}({', '.join(parts)})"
    if len(line) <= LINE_LENGTH:
        return [line]
    return [f"{before}(", *(f"{INDENT}    {part}," for part in parts), f"{INDENT})"]


def first_argument(text: str) -> str | None:
    """The text of the call that is the first argument of the call of a named function; None for anything else."""
    tree = ast.parse(text, mode="eval").body
    if not isinstance(tree, ast.Call) or not _is_dotted(tree.func) or not tree.args:
        return None
    return ast.get_source_segment(text, tree.args[0]) if isinstance(tree.args[0], ast.Call) else None


def laid_out(before: str, text: str, after: str = "") -> list[str]:
    """``before text after`` as formatters lay out a call of a named function or a tuple that is too long for a line."""
    tree = ast.parse(text, mode="eval").body
    parts = _arguments(text, tree)
    if len(before) + len(text) + len(after) <= LINE_LENGTH or not parts:
        return [f"{before}{text}{after}"]
    margin = " " * (len(before) - len(before.lstrip()))
    head = ast.unparse(tree.func) if isinstance(tree, ast.Call) else ""
    together = f"{margin}    {', '.join(parts)}"
    if isinstance(tree, ast.Call) and len(together) <= LINE_LENGTH:
        return [f"{before}{head}(", together, f"{margin}){after}"]
    lines = [line for part in parts for line in laid_out(f"{margin}    ", part, ",")]
    return [f"{before}{head}(", *lines, f"{margin}){after}"]


def _arguments(text: str, tree: ast.expr) -> list[str]:
    """The texts of what stands between the outermost parentheses of a call or a tuple; none for anything else."""
    nodes: list[ast.AST] = []
    if isinstance(tree, ast.Call) and _is_dotted(tree.func):
        nodes = [*tree.args, *tree.keywords]
    elif isinstance(tree, ast.Tuple) and text.startswith("("):
        nodes = [*tree.elts]
    data = text.encode()  # the tree counts columns in bytes of UTF-8
    return [data[node.col_offset : node.end_col_offset].decode() for node in nodes]  # type: ignore[attr-defined]


def _is_dotted(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_dotted(node.value))


def merge_text(combine: str, values: Sequence[str]) -> str:
    """A merge of two values or more, with the calls of the interpreter in its order."""
    if combine == "concat":
        return f"torch.cat(({', '.join(values)}), 1)"
    return f"torch.stack(({', '.join(values)})).mean(0)" if combine == "mean" else " + ".join(values)


def landmarks(steps: Sequence[Step]) -> Mapping[str, str]:
    """For every architectural node (owner) the value that it gives: that of its last step."""
    return {step.node.owner: step.name for step in steps if step.node.owner}


def _same(text: str, meant: ast.expr) -> bool:
    try:
        return ast.dump(ast.parse(text, mode="eval").body) == ast.dump(meant)
    except SyntaxError:
        return False


def _wraps(node: ast.Lambda) -> bool:
    names = node.args
    if names.posonlyargs or names.kwonlyargs or names.vararg or names.kwarg or names.defaults or len(names.args) != 1:
        return False
    body, argument = node.body, names.args[0].arg
    return (
        isinstance(body, ast.Call)
        and isinstance(body.func, ast.Attribute | ast.Name)
        and not any(isinstance(each, ast.Name) and each.id == argument for each in ast.walk(body.func))
        and not body.keywords
        and [ast.unparse(each) for each in body.args] == [argument]
    )
