"""Sources of optimizers: a class, a library by name, a rule, an exported file."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.optim import Optimizer

from optforge.analysis import lift
from optforge.comparison.recipes.cache_key import checked_content_key, optimizer_key
from optforge.errors import USERS_ERRORS, CompareError, ProgramError
from optforge.files import is_file, split_class
from optforge.language import FUNCTIONS, Program, load_rule, parse, rule_names
from optforge.optim import ProgramOptimizer
from optforge.tasks.files import run_file
from optforge.tasks.source import library_version

Build = Callable[..., Optimizer]
# Settings in one vocabulary, and what libraries call them where there is no `betas`.
_ALIASES = {"beta1": ("momentum",), "beta2": ("beta2_cap",)}
_BETA = re.compile(r"beta[1-9]")
_PAIR = {"beta1": 0.9, "beta2": 0.999}  # where `betas` has no default that could be read
_LIBRARIES = ("torch", "timm", "pytorch_optimizer")


@dataclass(frozen=True)
class OptimizerSource:
    """An optimizer that can be built from settings; it can be sent to workers.

    Args:
        content_key: Identifies it in the key of a result: a qualified name with the version of its
            package, or a hash of a file or of the user's code.
        build: Builds the optimizer from parameters and keywords.
        accepts: Names of the keywords that it accepts.
        defaults: Default values of these keywords, where they are numbers.
        tells_matrices: Whether it is a rule that treats hidden matrices differently from other
            parameters; its parameter groups then mark them.
        asks_progress: Whether it is a rule that needs the number of steps of the whole run.

    Example:
        >>> source = find_source("torch:SGD")
        >>> source.content_key.split()[0], "momentum" in source.accepts
        ('torch.optim.sgd.SGD', True)
    """

    content_key: str
    build: Build
    accepts: frozenset[str]
    defaults: Mapping[str, float]
    tells_matrices: bool = False
    asks_progress: bool = False

    def tunable(self, name: str) -> bool:
        """Return whether a hyperparameter such as ``lr`` or ``beta2`` can be set."""
        if name in self.accepts:
            return True
        if "betas" in self.accepts and name in self._betas():
            return True
        return any(alias in self.accepts for alias in _ALIASES.get(name, ()))

    def common_name(self, name: str) -> str:
        """Return a keyword's name in the common vocabulary, as ``beta1`` for ``momentum``."""
        if name in self.accepts and "betas" not in self.accepts:
            for common, aliases in _ALIASES.items():
                if name in aliases and common not in self.accepts:
                    return common
        return name

    def default(self, name: str) -> float | None:
        """Return the value of a hyperparameter that is not set."""
        for known in (name, *_ALIASES.get(name, ())):
            if known in self.defaults:
                return self.defaults[known]
        return None

    def make(self, parameters: Iterable[Any], settings: Mapping[str, Any]) -> Optimizer:
        """Build the optimizer.

        Args:
            parameters: Parameters or groups.
            settings: Values by name; ``beta1`` and so on are passed in the form the optimizer
                expects.

        Raises:
            CompareError: If the optimizer rejects the settings.
        """
        keywords = self._keywords(settings)
        try:
            return self.build(parameters, **keywords)
        except USERS_ERRORS as error:
            raise CompareError(f"{self.content_key} refuses {keywords}: {error}") from error

    def _keywords(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        keywords: dict[str, Any] = {}
        betas = self._betas()
        for name, value in settings.items():
            if name in self.accepts:
                keywords[name] = value
            elif name in betas and "betas" in self.accepts:
                betas[name] = value
                keywords["betas"] = tuple(betas.values())
            else:
                keywords[self._alias(name)] = value
        return keywords

    def _betas(self) -> dict[str, Any]:
        """Return the optimizer's betas by name, in order; some optimizers have three."""
        betas = {n: b for n, b in self.defaults.items() if _BETA.fullmatch(n)}
        return {n: b for n, b in betas.items() if n not in self.accepts} or dict(_PAIR)

    def _alias(self, name: str) -> str:
        for alias in _ALIASES.get(name, ()):
            if alias in self.accepts:
                return alias
        raise CompareError(f"{self.content_key} has no setting {name!r}; {self._names()}")

    def _names(self) -> str:
        return f"it has {', '.join(sorted(self.accepts))}"


def find_source(name: str) -> OptimizerSource:
    """Return the optimizer with the given name.

    Args:
        name: ``torch:AdamW``, ``timm:lion`` or ``pytorch_optimizer:adabelief``; ``rule:lion`` or a
            file of a rule; an exported file, or any ``file.py:Class``, which is run; or a bare
            name, looked for in shipped rules, torch, timm and pytorch_optimizer, in this order.

    Raises:
        CompareError: If there is none; the message says where it was looked for.

    Example:
        >>> find_source("lion").content_key[:5]
        'rule '
    """
    library, _, rest = name.partition(":")
    file = split_class(name)[0]  # a file that is there keeps the colons in its name
    if library in _LIBRARIES and rest and (file == library or not is_file(file)):
        return _from_library(library, rest)
    if name.startswith("torch.optim."):
        return _from_library("torch", name.removeprefix("torch.optim."))
    if _looks_like_file(name):
        return _from_file(name)
    if (rule := name.removeprefix("rule:")) in rule_names():
        return rule_source(load_rule(rule))
    for library in _LIBRARIES:
        try:
            return _from_library(library, name)
        except CompareError:
            continue
    if is_file(file):
        return _from_file(name)
    raise CompareError(
        f"no optimizer {name!r}: it is not a preset, a shipped rule ({', '.join(rule_names())}), "
        "a file, nor a name that torch.optim, timm or pytorch_optimizer know; "
        "write torch:Name, timm:name, pytorch_optimizer:name, rule:name, or file.py:Class"
    )


def rule_source(program: Program) -> OptimizerSource:
    """Return a program as an optimizer whose settings are the program's constants."""
    lifted = lift(program)
    digest = hashlib.sha256(program.text.encode()).hexdigest()[:16]
    build = functools.partial(_program_optimizer, program.text)
    used = {statement.function for statement in program.statements}
    asks_progress = "get_progress" in used
    accepts = {*lifted.values, *(("total_steps",) if asks_progress else ())}
    return OptimizerSource(
        f"rule {digest}",
        build,
        frozenset(accepts),
        dict(lifted.values),
        tells_matrices=any(FUNCTIONS[name].belongs_to == "matrices" for name in used),
        asks_progress=asks_progress,
    )


def class_source(cls: Callable[..., Optimizer], content_key: str | None = None) -> OptimizerSource:
    """Return an optimizer class, or a function that builds an optimizer, as a source."""
    try:
        parameters = inspect.signature(cls).parameters
    except (TypeError, ValueError):
        raise CompareError(
            f"{cls!r} is no optimizer; give a class, or a function of parameters and keywords"
        ) from None
    named = content_key or optimizer_key(cls)
    plain = [p for p in list(parameters.values())[1:] if p.kind not in (p.VAR_KEYWORD,)]
    if isinstance(cls, functools.partial):
        plain = [p for p in parameters.values() if p.name != "params"]
    defaults = {p.name: float(p.default) for p in plain if _is_number(p.default)}
    for p in plain:
        if p.name == "betas" and isinstance(p.default, tuple):
            defaults |= {f"beta{n}": b for n, b in enumerate(p.default, 1)}
    return OptimizerSource(named, cls, frozenset(p.name for p in plain), defaults)


def _program_optimizer(text: str, parameters: Any, **settings: Any) -> Optimizer:
    return ProgramOptimizer(parameters, parse(text), **settings)


def _from_library(library: str, name: str) -> OptimizerSource:
    module = _import(library)
    finder = {"torch": _torch, "timm": _timm, "pytorch_optimizer": _pytorch_optimizer}[library]
    source = finder(module, name)
    if source is None:
        raise CompareError(f"{library} has no optimizer {name!r}")
    return source


def _torch(module: ModuleType, name: str) -> OptimizerSource | None:
    classes = {
        key.lower(): value
        for key, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, Optimizer) and value is not Optimizer
    }
    cls = classes.get(name.lower())
    return class_source(cls) if cls else None


def _timm(module: ModuleType, name: str) -> OptimizerSource | None:
    try:
        cls = module.optim.get_optimizer_class(name, bind_defaults=True)
    except ValueError:
        return None
    return class_source(cls, f"timm {name} {library_version('timm')}")


def _pytorch_optimizer(module: ModuleType, name: str) -> OptimizerSource | None:
    try:
        content_key = f"pytorch_optimizer {name} {library_version('pytorch_optimizer')}"
        return class_source(module.load_optimizer(name), content_key)
    except (NotImplementedError, ValueError, KeyError):
        return None


def _import(library: str) -> ModuleType:
    try:
        module = importlib.import_module("torch.optim" if library == "torch" else library)
        if library == "timm":
            importlib.import_module("timm.optim")
        return module
    except ImportError as error:
        raise CompareError(
            f"the package {library!r} cannot be imported ({error}); "
            f"install it with: pip install {library}"
        ) from error


def _looks_like_file(name: str) -> bool:
    file = split_class(name)[0]
    return name.endswith((".py", ".txt")) or file.endswith(".py") or "/" in name


def _from_file(name: str) -> OptimizerSource:
    """Load a rule's text, which is parsed and never run, or else a Python file, which is run."""
    file, cls = split_class(name)
    if not cls:
        try:
            return rule_source(load_rule(file))
        except ProgramError as error:
            if not is_file(file) or "torch" not in Path(file).read_text(errors="replace"):
                raise
            reason = error
    else:
        reason = None
    module = run_file(Path(file), "optimizer", CompareError)
    classes = _classes(module)
    chosen = classes.get(cls) if cls else next(iter(classes.values()), None)
    if chosen is None or (not cls and len(classes) > 1):
        why = f"; as a rule it cannot be read: {reason}" if reason and not classes else ""
        raise CompareError(
            f"{name}: name one of its optimizer classes, as in file.py:Class; "
            f"it has {', '.join(classes) or 'none'}{why}"
        )
    # The class with all that it uses of one's own, also from other files; not where it lies.
    return class_source(chosen, f"file {chosen.__name__} {checked_content_key(chosen)}")


def _classes(module: ModuleType) -> dict[str, type[Optimizer]]:
    return {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Optimizer)
        and value.__module__ == module.__name__
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
