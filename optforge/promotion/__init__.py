"""The funnel: candidates of a search compete with a tuned baseline on ever larger tasks."""

from optforge.promotion.candidates import FunnelCandidate as FunnelCandidate
from optforge.promotion.candidates import collect as collect
from optforge.promotion.funnel import Funnel as Funnel
from optforge.promotion.result import Entrant as Entrant
from optforge.promotion.result import StageResult as StageResult
from optforge.promotion.script import OptimizerFactory as OptimizerFactory
from optforge.promotion.script import Script as Script
from optforge.promotion.stage import Stage as Stage
from optforge.promotion.stage import read_ladder as read_ladder
