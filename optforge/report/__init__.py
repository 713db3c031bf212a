"""What a run looks like: pictures and pages made of its journal."""

from optforge.report.history import draw_history as draw_history
