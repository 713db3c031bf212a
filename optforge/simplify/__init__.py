"""From raw program to readable rule, with a derivation that can be checked."""

from optforge.simplify.card import Card as Card
from optforge.simplify.card import property_card as property_card
from optforge.simplify.derivation import EMPIRICAL as EMPIRICAL
from optforge.simplify.derivation import EXACT as EXACT
from optforge.simplify.derivation import GUARDED as GUARDED
from optforge.simplify.derivation import Change as Change
from optforge.simplify.derivation import Derivation as Derivation
from optforge.simplify.derivation import Link as Link
from optforge.simplify.derivation import Pass as Pass
from optforge.simplify.derivation import Step as Step
from optforge.simplify.exact import Simplified as Simplified
from optforge.simplify.exact import exact_passes as exact_passes
from optforge.simplify.exact import run_passes as run_passes
from optforge.simplify.exact import simplify_exact as simplify_exact
from optforge.simplify.picture import draw_update as draw_update
from optforge.simplify.recognise import Recognised as Recognised
from optforge.simplify.recognise import recognise as recognise
from optforge.simplify.result import SimpleRule as SimpleRule
from optforge.simplify.result import describe as describe
