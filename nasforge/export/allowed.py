"""The last look at exported code: it is parsed, and whatever an exported network has no use for is refused (P13)."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from types import ModuleType

import torch
from torch import nn
from torch.nn import functional as F

from nasforge.errors import NasforgeError

IMPORTS = (
    "from __future__ import annotations",
    "import math",
    "import sys",
    "import zlib",
    "from pathlib import Path",
    "import torch",
    "from safetensors.torch import load_file",
    "from torch import Tensor, nn",
    "from torch.nn import functional as F",
)
"""Every import that exported code may hold."""

_STATEMENTS = (
    *(ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AugAssign, ast.Return, ast.Expr, ast.If, ast.For, ast.While),
    *(ast.Try, ast.Raise, ast.Import, ast.ImportFrom),
)
_EXPRESSIONS = (
    *(ast.Name, ast.Attribute, ast.Constant, ast.Call, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp),
    *(ast.Lambda, ast.Tuple, ast.List, ast.ListComp, ast.DictComp, ast.GeneratorExp, ast.Subscript, ast.Slice),
    *(ast.Starred, ast.JoinedStr, ast.FormattedValue),
)
_REST = (
    *(ast.ExceptHandler, ast.Module, ast.arguments, ast.arg, ast.keyword, ast.alias),
    *(ast.comprehension, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context),
)
_NODES = (*_STATEMENTS, *_EXPRESSIONS, *_REST)

_BUILTINS = frozenset(
    {
        *("OSError", "ValueError", "__file__", "__name__", "isinstance", "print", "super"),
        *("abs", "bool", "bytes", "enumerate", "float", "int", "len", "list", "max", "min", "range", "reversed", "str"),
        *("sum", "tuple", "zip"),
    }
)
_MODULES = {"torch": torch, "nn": nn, "F": F}
_OPAQUE = {"math", "sys", "zlib"}
_SUBMODULES = frozenset({"torch.linalg", "torch.special", "torch.fft"})
_SYS = frozenset({"argv", "exit"})
_REFUSED_ATTRIBUTES = frozenset(
    {
        *("compile", "eval", "exec", "exec_module", "from_file", "fromfile", "load", "open", "popen", "save", "system"),
        *("chmod", "hardlink_to", "lchmod", "mkdir", "rename", "replace", "rmdir", "symlink_to"),
        *("tofile", "touch", "unlink", "write", "write_bytes", "write_text"),
    }
)


def check_source(source: str) -> None:
    """Check that `source` imports, names and calls nothing beyond what an exported network needs.

    Raises:
        NasforgeError: it does not parse, or holds something else; every place is named.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise NasforgeError(f"the exported code does not parse: {error}; an operation is at fault") from None
    problems = sorted({(getattr(node, "lineno", 0), what) for node, what in _problems(tree)})
    if problems:
        listed = "\n".join(f"    line {line}: {what}" for line, what in problems)
        raise NasforgeError(
            f"the exported code was refused; an operation's 'source' or 'helpers' holds what does not belong there:\n"
            f"{listed}"
        )


def _problems(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    top = {id(statement) for statement in tree.body}
    rooted = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    bound = set(_bound_names(tree))
    yield from ((each, "a statement that runs on import") for each in tree.body if not _belongs_at_the_top(each))
    for name in sorted(bound & set(dir(builtins))):
        yield tree, f"the built-in '{name}' is redefined"
    for node in ast.walk(tree):
        if not isinstance(node, _NODES):
            yield node, f"the syntax {type(node).__name__}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            if id(node) not in top or ast.unparse(node) not in IMPORTS:
                yield node, f"'{ast.unparse(node)}'"
        elif isinstance(node, ast.Name):
            if node.id not in bound and node.id not in _BUILTINS:
                yield node, f"the name '{node.id}'"
            # A second name for a module would hide what is taken from it.
            if node.id in _MODULES.keys() | _OPAQUE and id(node) not in rooted:
                yield node, f"the module '{node.id}' as a value"
        elif isinstance(node, ast.Attribute):
            yield from ((node, what) for what in _attribute_problems(node))


def _attribute_problems(node: ast.Attribute) -> Iterator[str]:
    text = ast.unparse(node)
    if node.attr in _REFUSED_ATTRIBUTES or (node.attr.startswith("_") and text != "super().__init__"):
        yield f"the attribute '{node.attr}'"
    if isinstance(node.value, ast.Name) and node.value.id == "sys" and node.attr not in _SYS:
        yield f"'{text}'"
    found = _resolve(node)
    if isinstance(found, ModuleType) and found.__name__ not in _SUBMODULES:
        yield f"the module '{text}'"
    elif found is None and _resolve(node.value) is not None:
        yield f"'{text}', which does not exist"


def _resolve(node: ast.expr) -> object:
    """What a dotted name of torch stands for; None where it is none."""
    if isinstance(node, ast.Name):
        return _MODULES.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _resolve(node.value)
        return None if owner is None else getattr(owner, node.attr, None)
    return None


def _bound_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias):
            yield node.asname or node.name
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name


def _belongs_at_the_top(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        constant = all(isinstance(each, ast.Constant) for each in values)
        return constant or ast.unparse(node.value) == "Path(__file__).parent"
    if _is_docstring(node):
        return True
    if isinstance(node, ast.If):
        return ast.unparse(node) == "if __name__ == '__main__':\n    main()"
    if isinstance(node, ast.FunctionDef):
        return _is_plain_function(node)
    if isinstance(node, ast.ClassDef):
        methods = [each for each in node.body if not _is_docstring(each)]
        module = not node.decorator_list and [ast.unparse(base) for base in node.bases] == ["nn.Module"]
        return module and all(isinstance(each, ast.FunctionDef) and _is_plain_function(each) for each in methods)
    return isinstance(node, ast.Import | ast.ImportFrom)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_plain_function(node: ast.FunctionDef) -> bool:
    # Defaults and decorators run when the function is defined.
    defaults = [each for each in (*node.args.defaults, *node.args.kw_defaults) if each is not None]
    plain = all(isinstance(each, ast.Constant | ast.Name) for each in defaults)
    return plain and all(ast.unparse(each) == "torch.no_grad()" for each in node.decorator_list)
