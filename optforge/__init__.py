"""optforge discovers optimizers for deep learning by searching over programs."""

from optforge.api import SearchResult as SearchResult
from optforge.api import resume as resume
from optforge.api import search as search
from optforge.comparing import ComparisonResult as ComparisonResult
from optforge.comparing import compare as compare
from optforge.errors import OptforgeError as OptforgeError
from optforge.language import Program as Program
from optforge.language import load_rule as load_rule
from optforge.language import parse as parse
from optforge.simplifying import simplify as simplify
from optforge.tasks import Data as Data
from optforge.tasks import Split as Split
from optforge.tasks import Task as Task

__version__ = "0.1.0"
