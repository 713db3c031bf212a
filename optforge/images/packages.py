"""Packages of the extra ``vision``, imported when something needs them."""

from __future__ import annotations

import importlib
from types import ModuleType

from optforge.errors import TrainingError


def package(module: str) -> ModuleType:
    """Import a module of the extra.

    Raises:
        TrainingError: If it cannot be imported; names the package and the command.

    Example:
        >>> package("timm").__name__
        'timm'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise TrainingError(
            f"training on images needs the package {module.split('.')[0]!r}, which cannot be "
            f"imported ({error}); install it with: pip install 'optforge[vision]'"
        ) from error
