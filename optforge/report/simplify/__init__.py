"""The report of a simplification: the rule, the table of effects, the derivation, JSON."""
