"""From a candidate to its verdict: probe, stages, hurdles, seeds."""

from optforge.fitness.evaluator import Evaluator as Evaluator
from optforge.fitness.jobs import KILLER as KILLER
from optforge.fitness.jobs import Judge as Judge
from optforge.fitness.jobs import Measure as Measure
from optforge.fitness.outcome import Outcome as Outcome
from optforge.fitness.outcome import Rank as Rank
from optforge.fitness.outcome import rank as rank
from optforge.fitness.probe import probe as probe
from optforge.fitness.seeds import seeds as seeds
from optforge.fitness.stages import JUDGED as JUDGED
from optforge.fitness.stages import PROBE as PROBE
from optforge.fitness.stages import Stage as Stage
from optforge.fitness.stages import plan_stages as plan_stages
