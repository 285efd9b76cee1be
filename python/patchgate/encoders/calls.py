"""Finds what a call of a module does besides the code of its class: hooks, adapters, forwards.

A gated tower calls the leaves of its model (projections, norms, MLPs) on packed tokens, and
bypasses the modules that hold them (embeddings, layers, attention). So the result includes an
adapter around a leaf. It would not include an adapter around a bypassed module: such a model is
refused.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from torch import nn

from patchgate._check.text import a_or_an

# The packages whose code the families know. A copy of it in another package, as in models with code
# of their own, is recognised by the package of the tower's class.
_LIBRARIES = ("torch.nn.modules.", "transformers.models.", "transformers.modeling_", "timm.")
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_RECORDER = "transformers.utils.output_capturing"  # its hooks only read hidden states
_LISTED = 8  # paths in a message
_Tree = dict[str, Any]  # the called modules below each name; None: the module itself is called
_NOTHING: _Tree = {}
_known: dict[tuple[type, str], Any] = {}  # forwards of classes that were checked


class _Bypassed(NamedTuple):
    path: str
    module: nn.Module
    called: _Tree  # the called modules below it


def home_of(model: nn.Module, names: tuple[str, ...]) -> str:
    """Returns the Python module of a model's class that has one of a family's names."""
    kinds = (kind for kind in type(model).__mro__ if kind.__name__ in names)
    return next((kind.__module__ for kind in kinds), "")


def addition(module: nn.Module, home: str = "") -> str | None:
    """Says in words what a call of a module does besides the code of its class; None: nothing.

    Args:
        module: the module.
        home: the Python module of the tower's class, whose code is known, too.
    """
    own = vars(module)
    for name in _HOOKS:
        if own[name] and not all(map(_only_records, own[name].values())):
            return f"has a hook ({name[1:-1].replace('_', ' ')})"
    if "forward" in own and not is_placed(module):
        mover = own.get("_hf_hook")
        undo = "accelerate.hooks.remove_hook_from_module(tower, recurse=True) undoes it"
        by = "" if mover is None else f", set by accelerate ({type(mover).__name__}; {undo})"
        return f"has a forward of its own{by}"
    if not is_known(module, home):
        return f"is {a_or_an(type(module).__name__)} of {_code(module)}"
    return None


def is_known(module: nn.Module, home: str) -> bool:
    """Whether the forward of a module's class is code of torch, of the libraries or of ``home``."""
    code = _code(module)
    return code.startswith(_LIBRARIES) or code == home


def is_plain(module: nn.Module, home: str) -> bool:
    """Whether a call of the module is the code of its class, and so are those of its children."""
    return all(addition(each, home) is None for each in module.modules())


def is_placed(module: nn.Module) -> bool:
    """Whether accelerate replaced a module's forward only to move inputs to its weights.

    A ``device_map`` does so with all modules whose weights stay loaded.
    """
    hook: Any = vars(module).get("_hf_hook")
    return type(hook).__name__ == "AlignDevicesHook" and not hook.offload


def check_passed_by(model: nn.Module, called: tuple[str, ...], home: str) -> bool:
    """Checks that bypassed modules would do nothing but run the code of their class.

    Args:
        model: the tower.
        called: paths of the modules that are called instead; ``*`` is any number of a layer.
        home: see ``addition``.

    Returns:
        Whether accelerate placed some of them: weights may be on several devices, or offloaded.

    Raises:
        TypeError: a bypassed module would do more.
    """
    placed, tree = False, _tree(called)
    if _are_bare(model, tree, home):
        return placed
    for each in _bypassed(model, tree, ""):
        if (found := addition(each.module, home)) is not None:
            name = each.path or type(model).__name__
            paths = _paths(each.called) or ["other modules"]
            instead = ", ".join(paths[:_LISTED]) + ", ..." * (len(paths) > _LISTED)
            raise TypeError(
                f"tower: its {name} {found}, which would be left out of the result: packed tokens "
                f"do not pass through it, but through {instead}. Put it there, or on the gated "
                "tower, or remove it"
            )
        placed = placed or is_placed(each.module)
    return placed


def _only_records(hook: Callable[..., Any]) -> bool:
    return getattr(hook, "__module__", None) == _RECORDER


def _code(module: nn.Module) -> str:
    """Returns the Python module in which the forward of a module's class was written."""
    return getattr(type(module).forward, "__module__", "")


@cache
def _tree(called: tuple[str, ...]) -> _Tree:
    """Makes a tree of the names in some paths."""
    tree: _Tree = {}
    for path in called:
        *above, last = path.split(".")
        at = tree
        for name in above:
            at = at.setdefault(name, {})
        at[last] = None
    return tree


def _are_bare(module: nn.Module, called: _Tree, home: str) -> bool:
    """Whether the module and all bypassed ones below it do only what their classes do.

    ``_bypassed`` and ``addition`` find out the same. This is faster, because every call asks it.
    """
    own, kind = vars(module), type(module)
    if own["_forward_hooks"] or own["_forward_pre_hooks"]:
        return False
    if own["_backward_hooks"] or own["_backward_pre_hooks"]:
        return False
    if "forward" in own or _known.get((kind, home)) is not kind.forward:
        if "forward" in own or not is_known(module, home):
            return False
        _known[kind, home] = kind.forward
    every = called.get("*", _NOTHING)
    for name, child in own["_modules"].items():
        below = called.get(name, every)
        if below is None or child is None or name == "parametrizations":
            continue
        if name == "_orig_mod" or not _are_bare(child, below, home):
            return False
    return True


def _bypassed(module: nn.Module, called: _Tree, path: str) -> Iterator[_Bypassed]:
    """Yields the module and all modules below it, but not those that are called."""
    below = vars(module)["_modules"]
    if "_orig_mod" in below:  # compiled: the same code
        module, below = below["_orig_mod"], vars(below["_orig_mod"])["_modules"]
    yield _Bypassed(path, module, called)
    for name, child in below.items():
        names = called.get(name, called.get("*", _NOTHING))
        # Parametrizations are called wherever a weight is read.
        if child is not None and names is not None and name != "parametrizations":
            yield from _bypassed(child, names, f"{path}.{name}" if path else name)


def _paths(called: _Tree) -> list[str]:
    paths = []
    for name, below in called.items():
        paths += [name] if below is None else [f"{name}.{path}" for path in _paths(below)]
    return paths
