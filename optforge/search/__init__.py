"""The search over programs: mutation, tournament, aging population, restarts, the loop."""

from optforge.search.finish import Finish as Finish
from optforge.search.finish import finish as finish
from optforge.search.history import History as History
from optforge.search.history import Tally as Tally
from optforge.search.loop import Search as Search
from optforge.search.mutation import Mutator as Mutator
from optforge.search.session import Budget as Budget
from optforge.search.session import Plan as Plan
from optforge.search.session import make_executor as make_executor
from optforge.search.session import make_plan as make_plan
from optforge.search.session import make_search as make_search
from optforge.search.session import read_plan as read_plan
from optforge.search.settings import Settings as Settings
from optforge.search.table import Table as Table
