"""The half of simplification that trains: leave out what changes no loss."""

from optforge.ablation.effects import Effect as Effect
from optforge.ablation.effects import Effects as Effects
from optforge.ablation.result import SimpleRule as SimpleRule
from optforge.ablation.result import describe as describe
from optforge.ablation.rule_trainer import RuleTrainer as RuleTrainer
from optforge.ablation.train import Options as Options
from optforge.ablation.train import TrainingEvidence as TrainingEvidence
from optforge.ablation.train import simplify_by_training as simplify_by_training
from optforge.ablation.winner import seconds_for as seconds_for
from optforge.ablation.winner import simplify_winner as simplify_winner
