"""Names for exported text: whatever the names in a program, only plain names are written."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable

LONGEST = 16  # so that a line with five names stays short

# What exported files import, define or need as they are; "l" and the like are hard to read.
TAKEN = frozenset(
    (*keyword.kwlist, *keyword.softkwlist, *dir(builtins))
    + ("math", "torch", "jax", "jnp", "optax", "self", "cls", "closure", "loss", "group", "state")
    + ("params", "updates", "annotations", "partial", "difflib", "l", "o", "i")
)
# What the classes and functions around a rule call their own variables; no state has these names.
AROUND = (
    *("weights", "gradients", "parameters", "results", "number", "own", "groups", "arrays"),
    *("value", "steps", "rule", "rate", "step", "init", "extra_args", "learning_rate"),
    *("initial_lr", "peak_lr", "max_lr", "min_lr"),
    *("is_matrix", "matrices", "progress", "total_steps", "rows", "columns"),
)


def identifier(text: str, otherwise: str, longest: int = LONGEST) -> str:
    """Return a plain lower-case name similar to a text.

    Args:
        text: Any text, even if it was never meant to be a name.
        otherwise: The name to return if nothing of the text can be kept.
        longest: Largest number of characters.

    Example:
        >>> identifier("Weight-Decay", "value"), identifier("8 bits", "value")
        ('weight_decay', 'value_8_bits')
        >>> identifier("__import__('os')", "value"), identifier("\\u00fc", "value")
        ('import_os', 'value')
    """
    plain = re.sub("[^a-z0-9]+", "_", text[:1000].lower()).strip("_")[:longest].strip("_")
    if not plain:
        return otherwise
    return plain if plain[0].isalpha() else f"{otherwise}_{plain}"[:longest].strip("_")


def class_name(text: str) -> str:
    """Return a class name similar to a text.

    Example:
        >>> class_name("adamw_bias_correction"), class_name("8 bits"), class_name("none")
        ('AdamwBiasCorrection', 'Rule8Bits', 'NoneRule')
    """
    words = re.sub("[^a-zA-Z0-9]+", " ", text[:100]).split()
    name = "".join(word[0].upper() + word[1:] for word in words)[:60]
    name = name if name[:1].isalpha() else f"Rule{name}"
    return f"{name}Rule" if name in _CLASSES or keyword.iskeyword(name) else name


_CLASSES = frozenset(dir(builtins)) | {"Tensor", "Array", "Any", "Scalar", "ParamsT", "NamedTuple"}


class Names:
    """Unique names of one scope.

    Args:
        taken: Names that the scope must not use.

    Example:
        >>> names = Names(["beta1"])
        >>> names.fresh("beta1"), names.fresh("m"), names.fresh("lambda")
        ('beta1_2', 'm', 'lambda_2')
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._used = {*TAKEN, *taken}

    def fresh(self, wish: str) -> str:
        """Return the preferred name, or the first free one with a number."""
        name, number = wish, 1
        while name in self._used:
            number += 1
            name = f"{wish}_{number}"
        self._used.add(name)
        return name
