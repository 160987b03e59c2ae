"""The transport problem solved exactly: the cheapest way to carry one distribution to another.

    min over g >= 0 of sum g_ij D_ij   with   sum_j g_ij = p_i,   sum_i g_ij = q_j

A linear program. POT's network simplex solves it where POT is installed; scipy's `linprog`, as in
the article, takes its place elsewhere: the same values, some hundred times slower. One of the
equalities follows from the others, and rounding would make it contradict them, so `linprog` is
given all but the last.

The optimum of the dual, potentials u and v with u_i + v_j <= D_ij and p u + q v = the cost, comes
with it: the derivatives of the cost by p and q.

Post: https://kexue.fm/archives/7388
Axes: N points of the first distribution, M points of the second
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# The simplex ends long before; POT's own default is too few pivots for a thousand points.
_MOST_PIVOTS = 10**9
_OPTIMAL = 1


class Solution(NamedTuple):
    """An optimal plan with the potentials that prove it optimal.

    Attributes:
        cost: what the plan costs.
        plan: [N, M] how much goes from where to where.
        x_potentials: [N] u, the derivative of the cost by p up to a constant.
        y_potentials: [M] v, the same for q.

    Example:
        >>> Solution(0.5, np.eye(1), np.array([0.5]), np.zeros(1)).cost
        0.5
    """

    cost: float
    plan: NDArray
    x_potentials: NDArray
    y_potentials: NDArray


def solve_transport(cost: NDArray, p: NDArray, q: NDArray) -> Solution:
    """Find the cheapest plan that carries `p` to `q`.

    Args:
        cost: [N, M] float64, the cost of carrying a unit from point i to point j; finite.
        p: [N] float64, weights that sum to 1, none below 0.
        q: [M] float64, the same for the other side.

    Returns:
        The plan, its cost and the potentials. A point without weight gets nothing, and the greatest
        potential that the costs allow.

    Raises:
        RuntimeError: if no solver finds an optimum.

    Example:
        >>> cost = np.array([[0.0, 1.0], [1.0, 0.0]])
        >>> solve_transport(cost, np.array([0.5, 0.5]), np.array([0.75, 0.25])).cost
        0.25
    """
    rows, columns = np.flatnonzero(p), np.flatnonzero(q)
    if len(rows) == len(p) and len(columns) == len(q):
        return _solve(np.ascontiguousarray(cost), p, q)
    inner = _solve(np.ascontiguousarray(cost[np.ix_(rows, columns)]), p[rows], q[columns])
    plan = np.zeros(cost.shape)
    plan[np.ix_(rows, columns)] = inner.plan
    # For points that have weight this gives their potentials back.
    u = (cost[:, columns] - inner.y_potentials).min(1)
    return Solution(inner.cost, plan, u, (cost - u[:, None]).min(0))


def _solve(cost: NDArray, p: NDArray, q: NDArray) -> Solution:
    try:
        import ot
    except ImportError:
        return _by_linprog(cost, p, q)
    solution, code = _by_pot(ot, cost, p, q)
    return solution if code == _OPTIMAL else _by_linprog(cost, p, q)


def _by_pot(ot, cost: NDArray, p: NDArray, q: NDArray) -> tuple[Solution, int]:
    """Call the simplex itself, which POT does not promise to keep, or the function around it.

    The function around it checks and converts for longer than a sentence takes to solve.
    """
    try:
        from ot.lp.emd_wrap import emd_c

        plan, value, u, v, code = emd_c(p, q, cost, _MOST_PIVOTS, 1)
    except (ImportError, TypeError):
        plan, log = ot.emd(p, q, cost, numItermax=_MOST_PIVOTS, log=True)
        value, u, v, code = log["cost"], log["u"], log["v"], log["result_code"]
    return Solution(float(value), plan, u, v), code


def _by_linprog(cost: NDArray, p: NDArray, q: NDArray) -> Solution:
    from scipy.optimize import linprog
    from scipy.sparse import block_array, eye_array, kron

    n, m = cost.shape
    from_x = kron(eye_array(n), np.ones((1, m)))
    to_y = kron(np.ones((1, n)), eye_array(m))
    equalities = block_array([[from_x], [to_y]]).tocsr()[:-1]
    # Weights of rare words lie below the default tolerance of 1e-7.
    tolerance = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    found = linprog(
        cost.ravel(),
        A_eq=equalities,
        b_eq=np.concatenate((p, q))[:-1],
        method="highs-ds",
        options=tolerance,
    )
    if not found.success:
        raise RuntimeError(f"linprog found no transport plan: {found.message}")
    potentials = np.append(found.eqlin.marginals, 0.0)
    return Solution(float(found.fun), found.x.reshape(n, m), potentials[:n], potentials[n:])
