"""Known optimizers: their names in tables, and the ranges in which they are tuned.

A range is that of a comparison unless stated otherwise. There, learning rates span 2.5 decades and
weight decays 3, the same for each optimizer; a best trial at an edge widens a range. Lion's
learning rate starts three times below AdamW's and its decay three times above. This is the near end
of the factors in table 12 of the paper (3 to 10): the far end left the best rates of short runs at
the top of the range or beyond. Betas are tuned for all, so that no baseline is a straw man.

If the elements of an update have a root mean square of about 1, as for a sign or an orthogonalized
matrix, the learning rate has Lion's range. If it is about 0.2, as for AdamW and Muon, it has
AdamW's. LAMB's rate is a share of the norm of each array.

The baselines of a search have separate ranges: they never grow, and the tasks are small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from optforge.tuning.dimension import COMPLEMENT, Dimension
from optforge.tuning.ranges import SEARCH_SHAPE
from optforge.tuning.space import Space

Ranges: TypeAlias = Mapping[str, tuple[float, float]]

# Which names tables print in full.
TITLES: Mapping[str, str] = MappingProxyType({"adamw": "AdamW", "lion": "Lion", "muon": "Muon"})

ADAM: Ranges = {"lr": (3e-4, 1e-1), "weight_decay": (1e-3, 1.0)}
SIGN: Ranges = {"lr": (1e-4, 3e-2), "weight_decay": (3e-3, 3.0)}
PLAIN: Ranges = {"lr": (3e-3, 1.0), "weight_decay": (1e-4, 1e-1)}
RATIO: Ranges = {"lr": (1e-3, 3e-1), "weight_decay": (1e-3, 1.0)}
RANGES: Mapping[str, Ranges] = MappingProxyType(
    {
        **dict.fromkeys(("adamw", "amsgrad", "radam", "nadam", "adabelief", "adafactor"), ADAM),
        **dict.fromkeys(("muon", "nadamw", "adan", "ademamix", "mars", "cautious_adamw"), ADAM),
        **dict.fromkeys(("lion", "cautious_lion", "ortho_adam", "ortho_lion"), SIGN),
        "ortho_momentum": SIGN,
        "ortho_split": ADAM,
        **dict.fromkeys(("ablation_0.9", "ablation_0.99"), SIGN),
        **dict.fromkeys(("sgd", "powersign", "addsign"), PLAIN),
        "lamb": RATIO,
    }
)
MEMORIES: Ranges = {"beta1": (0.02, 0.5), "beta2": (0.001, 0.3)}  # of 1 - beta
_SLOWER = (0.0003, 0.1)  # of a third average that remembers ten times longer


def space_of(name: str, memories: Sequence[str] | Ranges) -> Space:
    """Return the space of a known optimizer in a comparison.

    Args:
        name: Name of the optimizer.
        memories: Averages to tune: names of betas, or ranges of their complements by name.

    Example:
        >>> space_of("sgd", ("beta1",)).names
        ('lr', 'weight_decay', 'one_minus_beta1')
    """
    if not isinstance(memories, Mapping):
        memories = {beta: MEMORIES[beta] for beta in memories}
    dimensions = [Dimension(key, low, high) for key, (low, high) in RANGES[name].items()]
    dimensions += [
        Dimension(COMPLEMENT + beta, low, high, floor=1e-5, ceiling=1.0)
        for beta, (low, high) in memories.items()
    ]
    return Space(tuple(dimensions))


def memory_range(beta: float) -> tuple[float, float]:
    """Return the range of 1 - beta, which is AdamW's for an average with a similar memory.

    Example:
        >>> memory_range(0.9), memory_range(0.99), memory_range(0.9999)
        ((0.02, 0.5), (0.001, 0.3), (0.0003, 0.1))
    """
    if 1 - beta > 0.03:
        return MEMORIES["beta1"]
    return MEMORIES["beta2"] if 1 - beta > 5e-4 else _SLOWER


# The complements of the betas are drawn, because what matters is how long a moment remembers.
_RATE = Dimension("lr", 1e-3, 3e-1)
_DECAY = Dimension("weight_decay", 1e-4, 1.0)
_BETA1, _BETA2 = Dimension("one_minus_beta1", 1e-2, 1.0), Dimension("one_minus_beta2", 1e-3, 1.0)
_CORRECTION = Dimension("bias_correction", 0, 1, log=False, levels=2, ordered=False)
_CLIP = Dimension("clip", 1e-2, 10.0)
_EPS = Dimension("eps", 1e-8, 1e-1)
_AVERAGE = Dimension("one_minus_average", 1e-2, 0.999)


def _of_search(*dimensions: Dimension) -> Space:
    return Space(dimensions, of_constants=True)


SEARCH_SPACES: Mapping[str, Space] = MappingProxyType(
    {
        "adamw": _of_search(_RATE, _DECAY, _BETA1, _BETA2, _CORRECTION, *SEARCH_SHAPE),
        "lion": _of_search(
            Dimension("lr", 1e-4, 1e-1),
            Dimension("weight_decay", 1e-3, 10.0),
            _BETA1,
            _BETA2,
            *SEARCH_SHAPE,
        ),
        "muon": _of_search(
            _RATE,
            _DECAY,
            _BETA1,
            Dimension("one_minus_rest_beta1", 1e-2, 1.0),
            Dimension("one_minus_rest_beta2", 1e-3, 1.0),
            Dimension("rest_share", 3e-2, 3.0),
            *SEARCH_SHAPE,
        ),
    }
)

# What anybody may tune of AdamW, each with the rate: one of these may be all that a rule is.
THINGS: Mapping[str, Space] = MappingProxyType(
    {
        "rate": _of_search(_RATE),
        "decay": _of_search(_RATE, _DECAY),
        "averages": _of_search(_RATE, _BETA1, _BETA2),
        "bias correction": _of_search(_RATE, _CORRECTION),
        "schedule": _of_search(_RATE, *SEARCH_SHAPE),
        "clipping": _of_search(_RATE, _CLIP),
        "epsilon": _of_search(_RATE, _EPS),
        "averaged weights": _of_search(_RATE, _AVERAGE),
        "all of these": _of_search(
            *(_RATE, _DECAY, _BETA1, _BETA2, _CORRECTION, *SEARCH_SHAPE, _CLIP, _EPS, _AVERAGE)
        ),
    }
)
