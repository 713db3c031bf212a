"""Tasks to compare candidates on: a ladder of growing cost, sanity rows, and held-back families.

No search scores on any of them. The ladder decides which rule is promoted; the families that are
set aside decide nothing, and only a final table uses them.
"""

from optforge.tasks.ladder.rungs import LADDER as LADDER
from optforge.tasks.ladder.rungs import SANITY as SANITY
from optforge.tasks.ladder.set_aside import SET_ASIDE as SET_ASIDE
