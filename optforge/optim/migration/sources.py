"""The kinds of saved optimizers that become a Lion: one row each.

A row says how to recognise its kind, how to read the momentum, what its param groups mean here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from optforge.errors import OptimizerError
from optforge.optim.migration.recipe import RATES_OF_GROUPS

Entry = Mapping[str, Any]
Group = Mapping[str, Any]

# What every Lion's param groups have, and what schedulers add.
COMMON = ("betas", "weight_decay", *RATES_OF_GROUPS)
_ONE_AVERAGE = frozenset(("exp_avg",))
_WRAPPED = "__bnb_optimizer_quant_state__"  # bitsandbytes hides its tensors there from FSDP
_BLOCKS = tuple(1 << power for power in range(4, 17))  # sizes that bitsandbytes has had


@dataclass(frozen=True)
class SavedOptimizer:
    """One kind of saved optimizer.

    Args:
        name: What `convert_state_dict` calls it.
        entry_keys: A state entry with all of these is of this kind.
        group_keys: So is a param group with all of these.
        momentum: Reads the momentum, shaped as the parameter, from an entry.
        settings: Reads what a param group says, in the words of `Lion`; raises `OptimizerError`
            for what Lion cannot do.
    """

    name: str
    entry_keys: frozenset[str]
    group_keys: frozenset[str]
    momentum: Callable[[Entry], Tensor]
    settings: Callable[[Group], dict[str, Any]]

    def recognises(self, group: Group, entry: Entry) -> bool:
        """Return whether a group and an entry of its state can come from this source.

        A Lion with one average has no other state: Adamax, AdaBelief and Sophia have an average of
        that name as well.
        """
        keys = set(unwrapped(entry))
        is_alone = self.entry_keys != _ONE_AVERAGE or keys <= _ONE_AVERAGE | {"step"}
        return self.group_keys <= set(group) and self.entry_keys <= keys and is_alone


def unwrapped(entry: Entry) -> Entry:
    """Return an entry with its tensors out of where bitsandbytes hides them."""
    return {**entry, **entry.get(_WRAPPED, {})}


def picked(group: Group, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the named entries that are there."""
    return {name: group[name] for name in names if name in group}


def _first_state(entry: Entry) -> Tensor:
    """Read the first state of bitsandbytes: 32 bits as they are, 8 bits dequantised."""
    codes = entry["state1"]
    if codes.dtype != torch.uint8:
        return codes
    if not {"qmap1", "absmax1"} <= set(entry):
        raise OptimizerError(
            f"8-bit state of bitsandbytes without 'qmap1' and 'absmax1' (it has {sorted(entry)}), "
            "as block_wise=False leaves it, has no counterpart; save it with block_wise=True"
        )
    book, scales = entry["qmap1"].to(codes.device), entry["absmax1"].to(codes.device)
    values = book[codes.flatten().long()]
    block = _block_of(codes.numel(), scales.numel())
    return (values * scales.repeat_interleave(block)[: values.numel()]).view(codes.shape)


def _block_of(elements: int, scales: int) -> int:
    """Return how many elements share a scale; from two scales on only one size fits.

    Raises:
        OptimizerError: If none does.
    """
    if scales == 1:
        return max(elements, 1)
    block = next((size for size in _BLOCKS if -(-elements // size) == scales), None)
    if block is None:
        raise OptimizerError(
            f"8-bit state of bitsandbytes has {scales} scales for {elements} elements, which fits "
            f"no block of {_BLOCKS[0]} to {_BLOCKS[-1]} elements; was the state cut or padded?"
        )
    return block


def _as_google(group: Group) -> dict[str, Any]:
    return picked(group, COMMON)


def _as_timm(group: Group) -> dict[str, Any]:
    if group.get("corrected_weight_decay") and group.get("weight_decay"):
        raise OptimizerError(
            "timm's corrected_weight_decay=True (lr**2 / max_lr * weight_decay) has no counterpart "
            "in Lion; set it to False in the saved groups and choose a decay_mode"
        )
    caution = {"cautious": group["caution"]} if "caution" in group else {}
    return {**_as_google(group), **picked(group, ("maximize",)), **caution}


def _as_pytorch_optimizer(group: Group) -> dict[str, Any]:
    if group.get("weight_decay") and (group["fixed_decay"] or not group["weight_decouple"]):
        how = "fixed_decay=True" if group["fixed_decay"] else "weight_decouple=False"
        raise OptimizerError(
            f"pytorch_optimizer's {how} has no counterpart in Lion; set it to the default in the "
            "saved groups and choose weight_decay and decay_mode anew"
        )
    return _as_google(group)


_average = itemgetter("exp_avg")


def _source(
    name: str,
    entry_keys: str,
    group_keys: str,
    momentum: Callable[[Entry], Tensor],
    settings: Callable[[Group], dict[str, Any]],
) -> SavedOptimizer:
    sets = frozenset(entry_keys.split()), frozenset(group_keys.split())
    return SavedOptimizer(name, *sets, momentum, settings)


# The first that recognises a state counts, so that the more specific come first.
_ROWS = (
    _source("adamw", "exp_avg exp_avg_sq", "betas eps", _average, lambda group: {}),
    _source("bitsandbytes-adamw", "state1 state2", "betas eps", _first_state, lambda group: {}),
    _source("bitsandbytes", "state1", "betas eps", _first_state, _as_google),
    _source("timm", "exp_avg", "betas maximize", _average, _as_timm),
    _source(
        *("pytorch_optimizer", "exp_avg", "betas weight_decouple fixed_decay"),
        *(_average, _as_pytorch_optimizer),
    ),
    _source("google", "exp_avg", "betas", _average, _as_google),
    _source("lion-pytorch", "exp_avg", "betas", _average, _as_google),
)
SOURCES: Mapping[str, SavedOptimizer] = MappingProxyType({row.name: row for row in _ROWS})
