"""Jobs with their failures, stop, deadline and progress: the one way to train on seeds."""

from optforge.jobs.display import Display as Display
from optforge.jobs.display import Silent as Silent
from optforge.jobs.display import named as named
from optforge.jobs.failures import JobKey as JobKey
from optforge.jobs.losses import Trainer as Trainer
from optforge.jobs.recovery import JobError as JobError
from optforge.jobs.recovery import Recovery as Recovery
from optforge.jobs.runner import POLL_SECONDS as POLL_SECONDS
from optforge.jobs.runner import JobRunner as JobRunner
from optforge.jobs.runner import Watch as Watch
from optforge.jobs.store import Source as Source
from optforge.jobs.store import Store as Store
