"""The form of a rule without its constants, with sums and products ordered, for matching names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

from optforge.equality.graph import CONSTANT, GRADIENT, WEIGHT, Graph, state_leaf


@dataclass(frozen=True)
class Form:
    """A value: a constant factor, the form of the rest, and the constants in it.

    Args:
        factor: Constant factor.
        text: Text of the rest, with ``#`` for each constant.
        slots: The constants, in the order of their places.
        parts: Text and constants of each factor of a product.
    """

    factor: float
    text: str
    slots: tuple[float, ...] = ()
    parts: tuple[tuple[str, tuple[float, ...]], ...] = ()

    @property
    def factors(self) -> tuple[tuple[str, tuple[float, ...]], ...]:
        """Return the text and constants of each factor; of the form itself if it is no product."""
        if self.text == "1":
            return ()
        return self.parts or ((self.text, self.slots),)


@dataclass(frozen=True)
class Skeleton:
    """The forms of the update and of the next states.

    Args:
        text: All forms without constants.
        slots: All constants; the first is the factor of the update.
    """

    text: str
    slots: tuple[float, ...]


def skeleton(graph: Graph, order: Sequence[int] | None = None) -> Skeleton:
    """Return the form of a rule for a given order of its states.

    Example:
        >>> from optforge.equality.graph import to_graph
        >>> from optforge.language import load_rule
        >>> skeleton(to_graph(load_rule("signum"))).slots
        (0.001, 0.9, 0.01, 1.0, 0.9)
    """
    order = range(len(graph.kinds)) if order is None else order
    forms = _forms(graph, {state_leaf(n): f"s{place}" for place, n in enumerate(order)})
    chosen = [forms[graph.outputs[0]], *(forms[graph.outputs[1 + n]] for n in order)]
    text = " | ".join(form.text for form in chosen)
    slots = tuple(value for form in chosen for value in (form.factor, *form.slots))
    return Skeleton(text, slots)


def skeletons(graph: Graph) -> list[Skeleton]:
    """Return the form for every order of the states."""
    return [skeleton(graph, order) for order in permutations(range(len(graph.kinds)))]


def _forms(graph: Graph, names: dict[str, str]) -> dict[int, Form]:
    forms: dict[int, Form] = {}
    for index in graph.reached():
        node = graph.nodes[index]
        inner = [forms[argument] for argument in node.arguments]
        if node.operation == CONSTANT:
            forms[index] = Form(node.value, "1")
        elif not inner:
            forms[index] = Form(1.0, names.get(node.operation, node.operation))
        elif node.operation in ("multiply", "divide"):
            forms[index] = _product(node.operation, inner)
        elif node.operation == "negative":
            forms[index] = replace(inner[0], factor=-inner[0].factor)
        elif node.operation in ("add", "subtract"):
            sign = -1.0 if node.operation == "subtract" else 1.0
            forms[index] = _sum(inner[0], inner[1], sign)
        elif node.operation == "reciprocal" and inner[0].factor != 0:
            forms[index] = _reciprocal(inner[0])
        else:
            forms[index] = _call(node.operation, inner)
    return forms


def _product(operation: str, inner: list[Form]) -> Form:
    left, right = inner
    if operation == "divide":
        bottom = f"{{{right.text}}}" if right.factor == 1 else f"{{# {right.text}}}"
        slots = right.slots if right.factor == 1 else (right.factor, *right.slots)
        right = Form(1.0, f"1/{bottom}", slots)
    return _multiplied(left.factor * right.factor, [*left.factors, *right.factors])


def _reciprocal(form: Form) -> Form:
    """Write the reciprocal of a product as the product of reciprocals."""
    return _multiplied(1 / form.factor, [(f"reciprocal({t})", s) for t, s in form.factors])


def _multiplied(factor: float, parts: Iterable[tuple[str, tuple[float, ...]]]) -> Form:
    ordered = tuple(sorted(parts))
    text = " * ".join(text for text, _ in ordered) or "1"
    return Form(factor, text, tuple(v for _, slots in ordered for v in slots), ordered)


def _sum(first_form: Form, second_form: Form, sign: float) -> Form:
    """Write a sum with the factor of its first term in front, and terms ordered by form."""
    second_form = replace(second_form, factor=sign * second_form.factor)
    parts = sorted(
        (first_form, second_form), key=lambda f: (f.text == "1", f.text == WEIGHT, f.text)
    )
    first = parts[0].factor or 1.0
    text = " + ".join(f"# {form.text}" for form in parts)
    slots = [v for form in parts for v in (form.factor / first, *form.slots)]
    return Form(first, f"({text})", tuple(slots[1:]))


def _call(operation: str, inner: list[Form]) -> Form:
    """Write a function call; constant factors of its arguments get their own places."""
    texts, slots = [], []
    for form in inner:
        plain = form.factor == 1 and form.text != "1"
        texts.append(form.text if plain else f"# {form.text}")
        slots += [*([] if plain else [form.factor]), *form.slots]
    return Form(1.0, f"{operation}({', '.join(texts)})", tuple(slots))


def preprocessed(graph: Graph) -> tuple[Graph, str | None]:
    """Replace a function of the gradient by the gradient if all reads go through it.

    Returns:
        The graph over that value, and the value as text; None if there is none.
    """
    order = graph.reached()
    pure: dict[int, bool] = {}
    for index in order:
        node = graph.nodes[index]
        inner = [pure[argument] for argument in node.arguments]
        outside = (node.operation == WEIGHT) or node.operation.startswith("state")
        pure[index] = not outside and all(inner)
    reads = {index: GRADIENT in _leaves(graph, index) for index in order}
    tops = {
        argument
        for index in order
        if not pure[index]
        for argument in graph.nodes[index].arguments
        if pure[argument] and reads[argument]
    } | {output for output in graph.outputs if pure[output] and reads[output]}
    if len(tops) != 1 or graph.nodes[next(iter(tops))].operation == GRADIENT:
        return graph, None
    top = next(iter(tops))
    if graph.nodes[top].operation in ("multiply", "square", "divide", "sign"):
        return graph, None  # a factor, a second moment or a sign is a matter of the rule itself
    result = Graph(graph.kinds)
    places = graph.copy_into(result, lambda i: result.add(GRADIENT) if i == top else None)
    result.outputs = tuple(places[output] for output in graph.outputs)
    return result, _text(graph, top)


def _leaves(graph: Graph, index: int) -> set[str]:
    return {graph.nodes[i].operation for i in graph.reached([index])}


def _text(graph: Graph, index: int) -> str:
    node = graph.nodes[index]
    if node.operation == CONSTANT:
        return f"{node.value:.6g}"
    if not node.arguments:
        return node.operation
    return f"{node.operation}({', '.join(_text(graph, a) for a in node.arguments)})"
