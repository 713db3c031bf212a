"""The language of update rules: functions, programs, their text and their meaning."""

from optforge.language.function import Function as Function
from optforge.language.function import Kind as Kind
from optforge.language.functions import ALIASES as ALIASES
from optforge.language.functions import FUNCTION_SETS as FUNCTION_SETS
from optforge.language.functions import FUNCTIONS as FUNCTIONS
from optforge.language.functions import functions_of as functions_of
from optforge.language.interpreter import Interpreter as Interpreter
from optforge.language.layout import Layout as Layout
from optforge.language.layout import layout_of as layout_of
from optforge.language.library import discovered_names as discovered_names
from optforge.language.library import load_rule as load_rule
from optforge.language.library import rule_names as rule_names
from optforge.language.library import rule_text as rule_text
from optforge.language.matrices import hidden_matrices as hidden_matrices
from optforge.language.matrices import mark_matrix as mark_matrix
from optforge.language.matrices import may_be_matrix as may_be_matrix
from optforge.language.matrices import parameter_groups as parameter_groups
from optforge.language.program import MAX_STATES as MAX_STATES
from optforge.language.program import Program as Program
from optforge.language.program import Statement as Statement
from optforge.language.program import round_constant as round_constant
from optforge.language.program import round_constants as round_constants
from optforge.language.text import parse as parse
