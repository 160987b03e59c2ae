"""The transport plan read as an alignment: which word goes to which, how much, at what cost.

    g = argmin of sum g_ij D_ij,   WMD or WRD = sum g_ij D_ij

The plan explains the distance: it is the sum of its lines.

Post: https://kexue.fm/archives/7388
Axes: N words of one sentence, M words of the other, D features of a word
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kexue._check import invalid
from kexue.sentences.transport_drawing import draw_alignment
from kexue.sentences.transport_measures import Measure, make_measure, pair_costs
from kexue.sentences.transport_solver import solve_transport


class Flow(NamedTuple):
    """What goes from one word to another.

    Attributes:
        x: the word's place in the first sentence.
        y: the word's place in the second.
        mass: the part of the sentence that goes this way; all flows together carry 1.
        cost: what it costs to carry a unit; mass times cost is the flow's part of the distance.

    Example:
        >>> Flow(0, 2, 0.5, 1.2).mass
        0.5
    """

    x: int
    y: int
    mass: float
    cost: float


@dataclass(frozen=True, eq=False, repr=False)
class TransportPlan:
    """The cheapest way from one sentence to another; `print` shows it as an alignment.

    Args:
        distance: the name of the distance, "wmd" or "wrd".
        value: the distance, sum of plan times cost.
        plan: [N, M] float64, how much of a word goes to which; rows and columns sum to the weights.
        cost: [N, M] float64, what it costs to carry a unit.
        x_words: N words, or their places where none were given.
        y_words: M words.

    Example:
        >>> plan = transport_plan(np.eye(2), np.eye(2)[:1], words=(["tea", "milk"], ["chai"]))
        >>> print(plan)
        Word Mover's Distance 0.7071
          mass    cost
         0.500  0.0000  tea → chai
         0.500  1.4142  milk → chai
    """

    distance: str
    value: float
    plan: NDArray
    cost: NDArray
    x_words: tuple[str, ...]
    y_words: tuple[str, ...]

    def flows(self) -> list[Flow]:
        """List what goes where, in the order of the first sentence, the largest part first.

        Returns:
            At most N + M - 1 flows; a word that was masked or has no weight is in none.
        """
        x, y = np.nonzero(self.plan)
        found = zip(x, y, self.plan[x, y], self.cost[x, y], strict=True)
        flows = [Flow(int(i), int(j), float(mass), float(cost)) for i, j, mass, cost in found]
        return sorted(flows, key=lambda flow: (flow.x, -flow.mass, flow.y))

    def to_dict(self) -> dict[str, object]:
        """Give the distance and the flows as a JSON object.

        Returns:
            The distance's name and value, and for each flow places, words, mass and cost.
        """
        flows = [
            {**flow._asdict(), "x_word": self.x_words[flow.x], "y_word": self.y_words[flow.y]}
            for flow in self.flows()
        ]
        return {"distance": self.distance, "value": self.value, "flows": flows}

    def draw(self, path: str | Path, *, fonts: Sequence[str] = ()) -> Path:
        """Draw the alignment: words on both sides, a band for each flow, its colour the cost.

        Args:
            path: where to write; the ending decides the format, such as .png, .svg or .pdf.
            fonts: names of font families to take first; those that hold Chinese are found without.

        Returns:
            The path. Needs matplotlib: `pip install "kexue[plot]"`. Warns with the characters that
            no font has.
        """
        title = f"{_NAMES[self.distance]} {self.value:.4f}"
        return draw_alignment(
            self.plan, self.cost, (self.x_words, self.y_words), path, title=title, fonts=fonts
        )

    def __str__(self) -> str:
        lines = [f"{_NAMES[self.distance]} {self.value:.4f}", "  mass    cost"]
        for x, y, mass, cost in self.flows():
            lines.append(f"{mass:6.3f} {cost:7.4f}  {self.x_words[x]} → {self.y_words[y]}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        n, m = self.plan.shape
        return f"TransportPlan({self.distance} {self.value:.6g}, {n} x {m} words)"


_NAMES = {"wmd": "Word Mover's Distance", "wrd": "Word Rotator's Distance"}


def transport_plan(
    x: Tensor | NDArray,
    y: Tensor | NDArray,
    *,
    distance: str = "wmd",
    words: tuple[Sequence[str], Sequence[str]] | None = None,
    x_weights: Tensor | NDArray | None = None,
    y_weights: Tensor | NDArray | None = None,
    x_mask: Tensor | NDArray | None = None,
    y_mask: Tensor | NDArray | None = None,
) -> TransportPlan:
    """Find the plan behind Word Mover's or Word Rotator's Distance.

    Args:
        x: [N, D] the vectors of one sentence's words.
        y: [M, D] the vectors of the other.
        distance: "wmd" or "wrd".
        words: the N words and the M words, to print and to draw.
        x_weights: [N] counts or other weights of the words, not below 0; None for equal ones.
        y_weights: [M] the same for `y`.
        x_mask: [N] bool, True = keep; hides padding, [CLS] and [SEP].
        y_mask: [M] the same for `y`.

    Returns:
        The plan with its costs; masked words keep their places, with nothing in them.

    Raises:
        ValueError: if a sentence is empty, or a shape, a number or a name is not allowed.

    Example:
        >>> transport_plan(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0]])).flows()
        [Flow(x=0, y=0, mass=1.0, cost=5.0)]
    """
    a = make_measure(x, name="x", distance=distance, weights=x_weights, mask=x_mask)
    b = make_measure(y, name="y", distance=distance, weights=y_weights, mask=y_mask)
    x_words, y_words = words or (None, None)
    x_words, y_words = _name_words(x_words, a, side="x"), _name_words(y_words, b, side="y")
    cost = pair_costs(a, b, distance=distance).detach().numpy()
    solution = solve_transport(cost, a.weights.detach().numpy(), b.weights.detach().numpy())
    return TransportPlan(distance, solution.cost, solution.plan, cost, x_words, y_words)


def _name_words(words: Sequence[str] | None, measure: Measure, *, side: str) -> tuple[str, ...]:
    count = len(measure.weights)
    if words is None:
        return tuple(map(str, range(count)))
    if len(words) != count:
        raise invalid(
            "words", f"{len(words)} for {side}", f"{count}, one for each vector of {side}"
        )
    return tuple(words)
