"""Tasks to hold candidates against: a ladder of growing cost, sanity rows, and families set aside.

No search scores on any of them. The ladder decides which rule is promoted; the families that are
set aside decide nothing, and are touched by a final table alone.
"""

from optforge.tasks.ladder.rungs import LADDER as LADDER
from optforge.tasks.ladder.rungs import SANITY as SANITY
from optforge.tasks.ladder.set_aside import SET_ASIDE as SET_ASIDE
