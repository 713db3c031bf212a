"""Options of a funnel, for `optforge.funnel` and for the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from optforge.api.keywords import WorkOptions
from optforge.errors import MOST, FunnelError, real_number, whole_number
from optforge.execution import worker_count
from optforge.options import with_plain_fields
from optforge.promotion.script import Train
from optforge.runs.directory import is_directory
from optforge.runs.file_names import JOURNAL
from optforge.tasks import Task
from optforge.tuning import OPTIMIZERS

FUNNEL = "funnel"  # the directory in that of the search


@dataclass(frozen=True)
class FunnelOptions(WorkOptions):
    """Options of a funnel.

    Args:
        run: Directory of a search, finished or not.
        ladder: Stages, the cheapest first: a TOML file, or tasks and training scripts as names,
            ``file.py:Class``, ``file.py:function`` or objects; by default the five shipped tasks.
        out: Directory of the funnel; ``funnel`` in the directory of the search by default.
        resume: Continue the funnel in that directory with its stored settings.
        candidates: Largest number of programs of the search that enter.
        baseline: Optimizer to beat, tuned alike: adamw, lion or muon.
        trials: Number of settings tried for each candidate and for the baseline in every stage; 32
            falling to 16 by default.
        alpha: Chance of any wrong promotion in a stage.
        seed: Random seed of all training.
        force: Replace files in ``out`` that optforge did not write.

    Raises:
        FunnelError: If an option is out of range.
    """

    run: str | Path
    _: KW_ONLY
    ladder: str | Path | Sequence[str | Task | Train] | None = None
    out: str | Path | None = None
    resume: bool = False
    candidates: int = 16
    baseline: str = "adamw"
    trials: int | None = None
    alpha: float = 0.05
    seed: int = 0
    force: bool = False

    def __post_init__(self) -> None:
        with_plain_fields(self, FunnelError)
        whole_number("candidates", self.candidates, 1, FunnelError)
        whole_number("seed", self.seed, wrong=FunnelError)
        if self.trials is not None:
            whole_number("trials", self.trials, 1, FunnelError, MOST)
        real_number("alpha", self.alpha, above=0, wrong=FunnelError)
        if self.alpha >= 0.5:
            raise FunnelError(f"alpha is {self.alpha}; give a number above 0 and below 0.5")
        if self.baseline not in OPTIMIZERS:
            raise FunnelError(f"baseline is {self.baseline!r}; allowed are {', '.join(OPTIMIZERS)}")
        worker_count(self.workers, FunnelError)

    @property
    def path(self) -> Path:
        """Directory of the funnel.

        Raises:
            FunnelError: If there is one to resume and none is wanted, or the other way round.
        """
        path = Path(self.run) / FUNNEL if self.out is None else Path(self.out)
        exists = is_directory(path) and (path / JOURNAL).exists()
        if exists and not self.resume:
            raise FunnelError(
                f"{path} holds a run already; if it is this funnel, continue it with --resume, or "
                "name another directory with --out"
            )
        if self.resume and not exists:
            raise FunnelError(f"{path} holds no funnel to resume; leave out --resume to begin one")
        return path
