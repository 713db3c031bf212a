"""Analysis of programs without training them."""

from optforge.analysis.cost import Cost as Cost
from optforge.analysis.cost import cost as cost
from optforge.analysis.examine import examine as examine
from optforge.analysis.fingerprint import fingerprint as fingerprint
from optforge.analysis.fingerprint import lean_fingerprint as lean_fingerprint
from optforge.analysis.hyperparameters import HyperParameter as HyperParameter
from optforge.analysis.hyperparameters import Lifted as Lifted
from optforge.analysis.hyperparameters import lift as lift
from optforge.analysis.kinds import state_kinds as state_kinds
from optforge.analysis.kinds import variable_kinds as variable_kinds
from optforge.analysis.liveness import Liveness as Liveness
from optforge.analysis.liveness import live_program as live_program
from optforge.analysis.liveness import liveness as liveness
from optforge.analysis.liveness import reads_gradient as reads_gradient
from optforge.analysis.numeric import numeric_fingerprint as numeric_fingerprint
from optforge.analysis.numeric import probe_updates as probe_updates
