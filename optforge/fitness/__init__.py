"""From a candidate to its verdict: probe, stages, seeds, the tuned baseline."""

from optforge.fitness.baseline import Baseline as Baseline
from optforge.fitness.baseline import known_settings as known_settings
from optforge.fitness.baseline import other_version as other_version
from optforge.fitness.baseline import samplers as samplers
from optforge.fitness.baseline import shipped as shipped
from optforge.fitness.baseline import stored as stored
from optforge.fitness.baseline import tune as tune
from optforge.fitness.evaluator import Evaluator as Evaluator
from optforge.fitness.evaluator import Judge as Judge
from optforge.fitness.evaluator import Measure as Measure
from optforge.fitness.outcome import Outcome as Outcome
from optforge.fitness.outcome import Rank as Rank
from optforge.fitness.outcome import rank as rank
from optforge.fitness.probe import probe as probe
from optforge.fitness.seeds import seeds as seeds
from optforge.fitness.stages import JUDGED as JUDGED
from optforge.fitness.stages import PROBE as PROBE
from optforge.fitness.stages import Stage as Stage
from optforge.fitness.stages import plan as plan
