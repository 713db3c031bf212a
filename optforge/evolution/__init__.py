"""The loop: select, mutate, judge, commit; an aging population, restarts, a journal."""

from optforge.evolution.budget import Budget as Budget
from optforge.evolution.candidate import Candidate as Candidate
from optforge.evolution.history import History as History
from optforge.evolution.loop import Search as Search
from optforge.evolution.mutation import Mutator as Mutator
from optforge.evolution.plan import SearchPlan as SearchPlan
from optforge.evolution.plan import read_plan as read_plan
from optforge.evolution.session import make_executor as make_executor
from optforge.evolution.session import make_plan as make_plan
from optforge.evolution.session import make_search as make_search
from optforge.evolution.settings import Settings as Settings
from optforge.evolution.tally import Tally as Tally
