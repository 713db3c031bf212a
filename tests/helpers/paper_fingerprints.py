"""Fingerprints of rules and random programs of the paper's set, before other functions came.

Rules that were found, run directories and derivations name programs by them, so they stay.
"""

from __future__ import annotations

# Functional and numeric, of every rule that was shipped then.
SHIPPED = {
    "adabelief": ("6958f050a25c9e99", "e88cbe866513f980"),
    "adamw": ("0c85a1fc7014d9ab", "ec6978653139c999"),
    "adamw_bias_correction": ("539172518bc700db", "f57b8cbdae3da8cb"),
    "lion": ("b1891f1c0ab81e2e", "a717322e9522a56f"),
    "momentum_sgd": ("e14863150ba856e6", "e70aec425a3b3815"),
    "nadam": ("06ec17e990314485", "c43a272e862bc39f"),
    "program_3": ("0c85a1fc7014d9ab", "ec6978653139c999"),
    "program_4": ("7c83c7d6e6433964", "7815d5bf3ab5166f"),
    "program_5": ("fc984a65230563b3", "0b2eefd11f534c64"),
    "program_6": ("296b29feee6f559d", "817d998cff5906cc"),
    "program_7": ("53afee45ef2b6143", "6552d252bdbea52d"),
    "program_8": ("397ef9a31cd526ca", "66d52de9708e8719"),
    "signum": ("27e1735f2912df07", "ea6e84bff7a49e32"),
}
# Text, functional fingerprint, kinds of states and hyper-parameters of 300 random programs.
RANDOM = "60d454d3794fe3a9"
