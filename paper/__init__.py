"""The paper's experiments at full size: a training script a field, run from the root of a clone."""

from importlib import util

if util.find_spec("accelerate") is None:
    raise ImportError(
        "accelerate is not installed; install it with: pip install 'optforge[vision]'"
    )
