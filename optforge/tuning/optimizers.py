"""The optimizers that a search is compared with: programs built from settings, and their tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from optforge.language import Program, parse
from optforge.tasks import Schedule
from optforge.training import Trainee
from optforge.tuning.known import SEARCH_SPACES, THINGS
from optforge.tuning.ranges import PLAIN_SHAPE, schedule_of
from optforge.tuning.space import Setting
from optforge.tuning.trainees import Tunable

Parameters = Mapping[str, float]

# What AdamW has where nothing is tuned: the defaults of torch, and the plain schedule.
ADAMW_DEFAULTS: Parameters = MappingProxyType(
    {"weight_decay": 0.01, "beta1": 0.9, "beta2": 0.999, "bias_correction": 1.0}
)


# What practice has where nothing is tuned: the defaults of torch, Lion's at the near end of the
# paper's factors (table 12), and Muon's, whose update has a root mean square of about 1 here.
USUAL: Mapping[str, Parameters] = MappingProxyType(
    {
        "adamw": {"lr": 1e-3, **ADAMW_DEFAULTS},
        "lion": {"lr": 3e-4, "weight_decay": 0.03, "beta1": 0.9, "beta2": 0.99},
        "muon": {
            **{"lr": 2e-3, "weight_decay": 0.1, "beta1": 0.95},
            **{"rest_beta1": 0.9, "rest_beta2": 0.95, "rest_share": 0.5},
        },
    }
)


def adamw(parameters: Parameters) -> Program:
    """Build AdamW from a setting.

    Args:
        parameters: lr, weight_decay, beta1, beta2 and bias_correction (0 or 1); optionally also
            eps, added to the root of the second moment, and clip, the largest global norm of the
            gradients.

    Example:
        >>> setting = dict(lr=0.01, weight_decay=0.1, beta1=0.9, beta2=0.99, bias_correction=0)
        >>> adamw(setting).states
        ('m', 'v')
    """
    p = {name: repr(float(value)) for name, value in parameters.items()}
    corrected = bool(parameters["bias_correction"])
    lines = [
        "def train(w, g, m, v, count, lr):" if corrected else "def train(w, g, m, v, lr):",
        *([f"    g = clip(g, {p['clip']})"] if "clip" in p else []),
        "    g2 = square(g)",
        f"    m = interp(g, m, {p['beta1']})",
        f"    v = interp(g2, v, {p['beta2']})",
        *(_corrected(p) if corrected else ["    sqrt_v = sqrt(v)"]),
        *([f"    sqrt_v = sqrt_v + {p['eps']}"] if "eps" in p else []),
        f"    update = {'(m * scale_m)' if corrected else 'm'} / sqrt_v",
        f"    wd = w * {p['weight_decay']}",
        "    update = update + wd",
        f"    lr = lr * {p['lr']}",
        "    update = update * lr",
        f"    return update, m, v{', count' if corrected else ''}",
    ]
    return parse("\n".join(lines))


def _corrected(p: Mapping[str, str]) -> list[str]:
    return [
        "    count = count + 1.0",
        f"    scale_m = reciprocal(1.0 - {p['beta1']} ** count)",
        f"    scale_v = reciprocal(1.0 - {p['beta2']} ** count)",
        "    sqrt_v = sqrt(v * scale_v)",
    ]


def lion(parameters: Parameters) -> Program:
    """Build Lion from lr, weight_decay, beta1 and beta2.

    Example:
        >>> lion(dict(lr=0.001, weight_decay=0.1, beta1=0.9, beta2=0.99)).states
        ('momentum',)
    """
    p = {name: repr(float(value)) for name, value in parameters.items()}
    return parse(
        "def train(weight, gradient, momentum, lr):\n"
        f"    update = interp(gradient, momentum, {p['beta1']})\n"
        "    update = sign(update)\n"
        f"    momentum = interp(gradient, momentum, {p['beta2']})\n"
        f"    weight_decay = weight * {p['weight_decay']}\n"
        "    update = update + weight_decay\n"
        f"    lr = lr * {p['lr']}\n"
        "    update = update * lr\n"
        "    return update, momentum\n"
    )


def muon(parameters: Parameters) -> Program:
    """Build Muon: orthogonalized Nesterov momentum on hidden matrices, AdamW on other arrays.

    Args:
        parameters: lr and weight_decay of both; beta1 of the momentum; rest_beta1, rest_beta2 of
            AdamW, and rest_share, the ratio of its learning rate to that of the matrices, whose
            updates have a root mean square of about 1.

    Example:
        >>> setting = dict(lr=0.02, weight_decay=0.1, beta1=0.95)
        >>> muon(setting | dict(rest_beta1=0.9, rest_beta2=0.99, rest_share=0.3)).states
        ('m', 'v')

    Source: Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024.
    """
    p = {name: repr(float(value)) for name, value in parameters.items()}
    return parse(
        "def train(w, g, m, v, lr):\n"
        f"    momentum = interp(g, m, {p['beta1']})\n"
        f"    ahead = interp(g, momentum, {p['beta1']})\n"
        "    turned = orthogonalize(ahead)\n"
        "    count = get_step()\n"
        "    g2 = square(g)\n"
        f"    average = interp(g, m, {p['rest_beta1']})\n"
        f"    v = interp(g2, v, {p['rest_beta2']})\n"
        f"    scale_m = reciprocal(1.0 - {p['rest_beta1']} ** count)\n"
        f"    scale_v = reciprocal(1.0 - {p['rest_beta2']} ** count)\n"
        "    sqrt_v = sqrt(v * scale_v)\n"
        "    rest = (average * scale_m) / sqrt_v\n"
        f"    rest = rest * {p['rest_share']}\n"
        "    update = where_matrix(turned, rest)\n"
        "    m = where_matrix(momentum, average)\n"
        f"    wd = w * {p['weight_decay']}\n"
        "    update = update + wd\n"
        f"    lr = lr * {p['lr']}\n"
        "    update = update * lr\n"
        "    return update, m, v\n"
    )


BUILDERS: Mapping[str, Callable[[Parameters], Program]] = MappingProxyType(
    {"adamw": adamw, "lion": lion, "muon": muon}
)


def trainee_of(optimizer: str, setting: Mapping[str, float]) -> Trainee:
    """Build an optimizer with its schedule and the averaging of weights that is used at the end."""
    return Trainee(
        BUILDERS[optimizer](setting),
        schedule_of(tuple(setting.items())),
        setting.get("average", 0.0),
    )


def tunable(optimizer: str) -> Tunable:
    """Return a baseline of a search as a tunable: ``adamw``, ``lion`` or ``muon``.

    What is usual is tried first, with the plain schedule, so that nothing tuned is worse than that.
    """
    usual = (*USUAL[optimizer].items(), *PLAIN_SHAPE)
    return Tunable(
        SEARCH_SPACES[optimizer], lambda setting: trainee_of(optimizer, dict(setting)), (usual,)
    )


def thing(name: str, known: tuple[Setting, ...] = ()) -> Tunable:
    """Return AdamW with the rate and one more thing to tune; the rest has its defaults.

    If the schedule is not tuned, it is the plain one and not that of a search, which would bring in
    effects that are meant to be left out.

    Args:
        name: One of ``THINGS``.
        known: Settings that are tried first.
    """

    def build(setting: Setting) -> Trainee:
        trainee = trainee_of("adamw", {**ADAMW_DEFAULTS, **dict(setting)})
        return replace(trainee, schedule=trainee.schedule or Schedule())

    return Tunable(THINGS[name], build, known)
