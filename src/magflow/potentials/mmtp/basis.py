"""The contraction basis of moment tensor potentials, by enumeration.

A basis function B_alpha is a scalar contraction of at most four moments M_{mu,nu} (Shapeev, Multiscale Model.
Simul. 14, 1153 (2016)): a loop-free multigraph whose nodes are moments and whose edges are contracted indices,
so that a node of rank nu has nu edges. The level of a node is 2 + 4 mu + nu; a potential of level L holds every
graph, counted up to isomorphism, whose levels sum to L or less.

Each graph becomes products of two earlier quantities: partial contractions whose free indices are fixed
Cartesian directions, shared between all graphs that need them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import permutations, product
from math import factorial

import numpy as np

from magflow.core.types import FloatArray
from magflow.errors import InputError

MAX_NODES = 4
MIN_LEVEL, MAX_LEVEL = 2, 20

Powers = tuple[int, int, int]
Node = tuple[int, Powers]
"""A moment M_mu with its free indices counted by direction; contracted indices are in the adjacency."""
Edges = tuple[tuple[int, ...], ...]
"""Symmetric adjacency with edge multiplicities."""
Graph = tuple[tuple[Node, ...], Edges]


@dataclass(frozen=True, eq=False)
class Basis:
    """Index tables of a basis, as the kernel and ``.mtp`` files use them.

    Parameters
    ----------
    basic
        (n_basic, 4) mu and the powers (a, b, c) of each basic moment.
    times
        (n_times, 3) left, right, out: moment[out] += multiplicity * moment[left] * moment[right], in order.
    multiplicity
        (n_times,)
    scalar
        (n_scalar,) the moment that is each basis function.
    """

    basic: np.ndarray
    times: np.ndarray
    multiplicity: FloatArray
    scalar: np.ndarray

    @property
    def n_mu(self) -> int:
        """Number of radial functions."""
        return int(self.basic[:, 0].max()) + 1

    @property
    def n_scalar(self) -> int:
        """Number of basis functions."""
        return len(self.scalar)

    @cached_property
    def monomials(self) -> tuple[np.ndarray, np.ndarray]:
        """(n_mono, 3) parent, axis and rank of each monomial, and (n_basic,) the monomial of each basic moment.

        Every monomial is an earlier one times one coordinate; those that derivatives need and no moment asks for are
        added.
        """
        wanted = {tuple(int(x) for x in row[1:]) for row in self.basic} | {(0, 0, 0)}
        for rank in range(max(map(sum, wanted)), 0, -1):
            for powers in [p for p in wanted if sum(p) == rank]:
                wanted |= {tuple(p - (a == axis) for a, p in enumerate(powers)) for axis in range(3) if powers[axis]}
        ordered = sorted(wanted, key=lambda p: (sum(p), p))
        index = {powers: k for k, powers in enumerate(ordered)}
        table = [(0, 0, 0)]
        for powers in ordered[1:]:
            parent, axis = _parent(powers)
            table.append((index[parent], axis, sum(powers)))
        of_basic = [index[tuple(int(x) for x in row[1:])] for row in self.basic]
        return np.array(table, dtype=np.int32), np.array(of_basic, dtype=np.int32)


def _parent(powers: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    axis = next(a for a in range(3) if powers[a])
    return tuple(p - (a == axis) for a, p in enumerate(powers)), axis


@cache
def enumerate_basis(level: int) -> Basis:
    """The basis of one level.

    Parameters
    ----------
    level
        2 to 20; odd levels hold what the even level below holds.

    Raises
    ------
    InputError
        If the level is out of range.
    """
    if not MIN_LEVEL <= level <= MAX_LEVEL:
        raise InputError("level out of range", seen=level, expected=f"{MIN_LEVEL} to {MAX_LEVEL}")
    graphs = sorted(_graphs(level), key=lambda g: (_level(g), len(g[0]), g))
    builder = _Builder()
    for nodes, edges in graphs:
        for node, row in zip(nodes, edges, strict=True):
            builder.declare(node[0], sum(row))
    builder.freeze_basics()
    scalar = [builder.build(graph) for graph in graphs]
    return builder.tables(scalar)


def _level(graph: Graph) -> int:
    nodes, edges = graph
    return sum(2 + 4 * mu + sum(row) for (mu, _), row in zip(nodes, edges, strict=True))


def _graphs(level: int) -> set[Graph]:
    found: set[Graph] = set()
    for n in range(1, MAX_NODES + 1):
        for labels in _labels(n, level):
            for edges in _adjacencies([nu for _, nu in labels]):
                found.add(_canonical((tuple((mu, (0, 0, 0)) for mu, _ in labels), edges)))
    return found


def _labels(n: int, level: int, smallest: tuple[int, int] = (0, 0)) -> Iterator[list[tuple[int, int]]]:
    """Non-decreasing lists of n nodes (mu, nu) whose levels fit."""
    if n == 0:
        yield []
        return
    for mu in range(level // 4 + 1):
        for nu in range(level):
            cost = 2 + 4 * mu + nu
            if (mu, nu) >= smallest and cost + 2 * (n - 1) <= level:
                for rest in _labels(n - 1, level - cost, (mu, nu)):
                    yield [(mu, nu), *rest]


def _adjacencies(degrees: list[int]) -> Iterator[Edges]:
    """Symmetric matrices with zero diagonal and the given row sums."""
    n = len(degrees)
    pairs = [(a, b) for a in range(n) for b in range(a + 1, n)]

    def fill(k: int, left: list[int], chosen: list[int]) -> Iterator[Edges]:
        if k == len(pairs):
            if not any(left):
                matrix = [[0] * n for _ in range(n)]
                for (a, b), count in zip(pairs, chosen, strict=True):
                    matrix[a][b] = matrix[b][a] = count
                yield tuple(tuple(row) for row in matrix)
            return
        a, b = pairs[k]
        for count in range(min(left[a], left[b]) + 1):
            rest = list(left)
            rest[a] -= count
            rest[b] -= count
            yield from fill(k + 1, rest, [*chosen, count])

    yield from fill(0, list(degrees), [])


@cache
def _canonical(graph: Graph) -> Graph:
    nodes, edges = graph
    return min(
        (tuple(nodes[k] for k in order), tuple(tuple(edges[a][b] for b in order) for a in order))
        for order in permutations(range(len(nodes)))
    )


@cache
def _powers(total: int) -> tuple[Powers, ...]:
    return tuple((a, b, total - a - b) for a in range(total, -1, -1) for b in range(total - a, -1, -1))


def _multinomial(p: Powers) -> int:
    return factorial(sum(p)) // (factorial(p[0]) * factorial(p[1]) * factorial(p[2]))


def _plus(node: Node, extra: Powers) -> Node:
    mu, free = node
    return mu, (free[0] + extra[0], free[1] + extra[1], free[2] + extra[2])


@cache
def _splits(n: int) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Ways to cut n nodes in two non-empty parts, each once."""
    out = []
    for mask in range(1, 2 ** (n - 1)):
        right = tuple(k for k in range(n) if mask >> k & 1)
        out.append((tuple(k for k in range(n) if k not in right), right))
    return tuple(out)


def _terms(graph: Graph, left: tuple[int, ...], right: tuple[int, ...]) -> dict[tuple[Graph, Graph], int]:
    """The graph as a sum of products of its two parts: each cut edge runs over the three directions."""
    nodes, edges = graph
    cut = [(a, b) for a in left for b in right if edges[a][b]]
    out: dict[tuple[Graph, Graph], int] = {}
    for choice in product(*(_powers(edges[a][b]) for a, b in cut)):
        changed = list(nodes)
        weight = 1
        for (a, b), p in zip(cut, choice, strict=True):
            changed[a] = _plus(changed[a], p)
            changed[b] = _plus(changed[b], p)
            weight *= _multinomial(p)
        halves = [
            _canonical((tuple(changed[k] for k in part), tuple(tuple(edges[a][b] for b in part) for a in part)))
            for part in (left, right)
        ]
        key = (halves[0], halves[1]) if halves[0] <= halves[1] else (halves[1], halves[0])
        out[key] = out.get(key, 0) + weight
    return out


@dataclass
class _Builder:
    """Turns graphs into products, sharing partial contractions."""

    ranks: dict[int, int] = field(default_factory=dict)
    basic: list[tuple[int, int, int, int]] = field(default_factory=list)
    index: dict[Graph, int] = field(default_factory=dict)
    rows: list[tuple[int, int, int, int]] = field(default_factory=list)

    def declare(self, mu: int, nu: int) -> None:
        self.ranks[mu] = max(nu, self.ranks.get(mu, 0))

    def freeze_basics(self) -> None:
        for mu in range(max(self.ranks) + 1):
            for nu in range(self.ranks.get(mu, 0) + 1):
                for powers in _powers(nu):
                    self.index[(((mu, powers),), ((0,),))] = len(self.basic)
                    self.basic.append((mu, *powers))
        self.next = len(self.basic)

    def build(self, graph: Graph) -> int:
        known = self.index.get(graph)
        if known is not None:
            return known
        best = min((_terms(graph, *split) for split in _splits(len(graph[0]))), key=lambda t: self.cost(t, set()))
        factors = [(self.build(a), self.build(b), weight) for (a, b), weight in best.items()]
        out = self.next
        self.next += 1
        self.index[graph] = out
        self.rows += [(a, b, weight, out) for a, b, weight in factors]
        return out

    def cost(self, terms: dict[tuple[Graph, Graph], int], planned: set[Graph]) -> int:
        """Products needed for `terms`, those of parts not built yet included (their own first split)."""
        total = len(terms)
        for pair in terms:
            for part in pair:
                if part not in self.index and part not in planned:
                    planned.add(part)
                    total += min(len(_terms(part, *split)) for split in _splits(len(part[0])))
        return total

    def tables(self, scalar: list[int]) -> Basis:
        rows = np.array(self.rows, dtype=np.int64).reshape(-1, 4)
        return Basis(
            np.array(self.basic, dtype=np.int32),
            rows[:, [0, 1, 3]].astype(np.int32),
            rows[:, 2].astype(float),
            np.array(scalar, dtype=np.int32),
        )
