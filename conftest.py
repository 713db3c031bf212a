"""What pytest leaves out where an optional package is missing."""

from importlib.util import find_spec

_OF_TRITON = ["rule_kernel", "device_rules", "interpreted"]
collect_ignore = (
    [] if find_spec("triton") else [f"optforge/training/{name}.py" for name in _OF_TRITON]
) + ([] if find_spec("open_clip") else ["paper/contrastive.py"])
