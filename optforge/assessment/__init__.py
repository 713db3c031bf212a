"""The end of a search: select on fresh seeds, fit, table, explanation, verdict."""

from optforge.assessment.finish import Finish as Finish
from optforge.assessment.finish import finish as finish
from optforge.assessment.table import Table as Table
