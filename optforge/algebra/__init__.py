"""Equality saturation: the simplest equal form of a rule's step."""

from optforge.algebra.engine import fresh_engines as fresh_engines
from optforge.algebra.explain import Instance as Instance
from optforge.algebra.explain import instances as instances
from optforge.algebra.explain import needed_rows as needed_rows
from optforge.algebra.extract import graph_cost as graph_cost
from optforge.algebra.graph import Graph as Graph
from optforge.algebra.graph import Node as Node
from optforge.algebra.graph import to_graph as to_graph
from optforge.algebra.graph import to_program as to_program
from optforge.algebra.rules import RULES as RULES
from optforge.algebra.rules import Rewrite as Rewrite
from optforge.algebra.saturate import ALL as ALL
from optforge.algebra.saturate import EXACT as EXACT
from optforge.algebra.saturate import Bounds as Bounds
from optforge.algebra.saturate import saturate as saturate
from optforge.algebra.simplest import Simplest as Simplest
from optforge.algebra.simplest import form_key as form_key
from optforge.algebra.simplest import simplest as simplest
from optforge.algebra.tidy import tidy as tidy
