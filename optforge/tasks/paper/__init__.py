"""The proxies of the paper, on data that you have on disk: presets for a GPU."""

from optforge.tasks.paper.proxies import PaperLanguage as PaperLanguage
from optforge.tasks.paper.proxies import PaperVision as PaperVision

PAPER_TASKS = (PaperVision, PaperLanguage)
