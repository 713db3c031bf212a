"""Candidates of a funnel: good programs of a whole search that behave and score differently."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy
from scipy.cluster import hierarchy

from optforge.analysis import live_program
from optforge.equality.graph import to_graph
from optforge.equality.skeleton import skeleton
from optforge.language import Program, parse
from optforge.runs import Journal, Verdict

POOL = 512  # best verdicts of a search that are looked at


@dataclass(frozen=True)
class FunnelCandidate:
    """A program of a search that enters a funnel.

    Args:
        number: Number of the proposal.
        text: The program without its dead statements.
        fitness: Mean log ratio to the baseline in the search, pooled with that on fresh seeds.
        profile: Mean log ratio on each task of the search.
        cluster_size: Number of programs with a similar profile that it stands for, itself included.
    """

    number: int
    text: str
    fitness: float
    profile: Mapping[str, float]
    cluster_size: int = 1

    @property
    def program(self) -> Program:
        """The program."""
        return parse(self.text)


def collect(
    journal: Journal, count: int, is_trusted: Callable[[int], bool] = lambda number: True
) -> list[FunnelCandidate]:
    """Return candidates from all phases of a search, the fittest first.

    Of the best programs that were judged in full, those that compute the same numbers, or differ in
    their constants only, are one candidate, because a funnel tunes constants. The rest is clustered
    by its profile over the tasks of the search, and the fittest of each cluster is returned.

    Args:
        journal: Journal of the search.
        count: Largest number of candidates.
        is_trusted: Whether programs with a given number count; by default all do.
    """
    leading = _leading(journal, is_trusted)
    return clustered(_distinct(leading, lambda c: c.text, _structure), count)


def clustered(candidates: Sequence[FunnelCandidate], count: int) -> list[FunnelCandidate]:
    """Return the fittest candidate of each cluster of similar profiles, the fittest first.

    Profiles are the log ratios on each task, divided by their spread; clusters are Ward's.

    Args:
        candidates: The candidates, the fittest first.
        count: Largest number of clusters.

    Example:
        >>> near = [FunnelCandidate(n, "", n / 9, {"a": 0.1, "b": n / 99}) for n in range(3)]
        >>> far = FunnelCandidate(9, "", 0.5, {"a": 0.9, "b": 0.9})
        >>> [(c.number, c.cluster_size) for c in clustered([*near, far], 2)]
        [(0, 3), (9, 1)]

    Source: Ward, Hierarchical Grouping to Optimize an Objective Function, 1963; the fittest of each
    cluster as in Romera-Paredes et al., FunSearch, Nature 625, 2024.
    """
    if len(candidates) <= count:
        return list(candidates)
    profiles = numpy.array([list(c.profile.values()) for c in candidates])  # [candidates, tasks]
    spread = profiles.std(0)
    profiles = profiles / numpy.where(spread > 0, spread, 1.0)
    tree = hierarchy.linkage(profiles, "ward")
    labels = hierarchy.fcluster(tree, count, "maxclust").tolist()
    best: dict[int, FunnelCandidate] = {}
    for label, candidate in zip(labels, candidates, strict=True):
        best.setdefault(label, replace(candidate, cluster_size=labels.count(label)))
    return list(best.values())


def _leading(journal: Journal, is_trusted: Callable[[int], bool]) -> list[FunnelCandidate]:
    """Return the best judged programs by pooled fitness; of equal numbers the fittest only."""
    fresh = {e.detail["fingerprint"]: e.detail["fitness"] for e in journal.events("rescore")}
    settings = journal.settings["search"]
    seeds, again = settings["repeats"] + settings["confirm"], settings["rescore_repeats"]

    def pooled(verdict: Verdict) -> float:
        value = fresh.get(verdict.fingerprint)
        if value is None:
            return verdict.fitness
        return (seeds * verdict.fitness + again * value) / (seeds + again)

    first = _first_proposals(journal, is_trusted)
    judged = ((pooled(v), v.id, v) for v in journal.verdicts() if v.id in first)
    best = heapq.nsmallest(POOL, (entry for entry in judged if math.isfinite(entry[0])))
    numbers: dict[str, FunnelCandidate] = {}
    for fitness, verdict_id, verdict in best:
        number, text = first[verdict_id]
        profile = {task: float(numpy.mean(values)) for task, values in verdict.scores.items()}
        candidate = FunnelCandidate(number, text, fitness, profile)
        numbers.setdefault(verdict.numeric_fingerprint, candidate)
    return [replace(c, text=live_program(c.program).text) for c in numbers.values()]


def _first_proposals(
    journal: Journal, is_trusted: Callable[[int], bool]
) -> dict[int, tuple[int, str]]:
    """Return number and text of the proposal that each verdict was made for."""
    return {
        proposal.verdict: (proposal.number, proposal.program)
        for proposal in journal.proposals()
        if proposal.verdict is not None and not proposal.cached and is_trusted(proposal.number)
    }


def _structure(candidate: FunnelCandidate) -> str:
    return skeleton(to_graph(candidate.program)).text


def _distinct(
    candidates: Iterable[FunnelCandidate], *keys: Callable[[FunnelCandidate], str]
) -> list[FunnelCandidate]:
    """Keep the first candidate for each value of each key."""
    kept = list(candidates)
    for key in keys:
        first: dict[str, FunnelCandidate] = {}
        for candidate in kept:
            first.setdefault(key(candidate), candidate)
        kept = list(first.values())
    return kept
