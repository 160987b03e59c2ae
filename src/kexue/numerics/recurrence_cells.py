"""The steps of `torch.nn.RNN` and `torch.nn.GRU`, with Jacobians written out and torch's own loop.

    RNN   x' = tanh(W u + b + A x + c)               J = diag(1 - x'^2) A
    GRU   r, z = sigmoid(W_rz u + b + A_rz x + c)    J = diag(z) + diag((x - n) z (1 - z)) A_z
          m = A_n x + c_n                                + diag(s) A_n + diag(s m (1 - r)) A_r
          n = tanh(W_n u + b_n + r m)                s = (1 - z) (1 - n^2) r
          x' = (1 - z) n + z x

At state 0, without biases and input, the GRU's is (I + A_n / 2) / 2, the article's choice of A.

Post: https://kexue.fm/archives/9783
Axes: T times, N recurrences side by side, "..." any axes, D features of a state, K of an input
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from kexue._check import invalid
from kexue.numerics.recurrence import Recurrence
from kexue.numerics.scan_orders import scale_rows


class CellWeights(NamedTuple):
    """Weights of one layer and direction, laid out as torch has them.

    Attributes:
        from_input: [G D, K] W, the G gates of a GRU (r, z, n) one below the other.
        from_state: [G D, D] A.
        input_bias: [G D] b; None where there are no biases.
        state_bias: [G D] c; None likewise.

    Example:
        >>> rnn = torch.nn.RNN(3, 2)
        >>> CellWeights(rnn.weight_ih_l0, rnn.weight_hh_l0).from_state.shape
        torch.Size([2, 2])
    """

    from_input: Tensor
    from_state: Tensor
    input_bias: Tensor | None = None
    state_bias: Tensor | None = None


def rnn_recurrence(weights: CellWeights, *, nonlinearity: str = "tanh") -> Recurrence:
    """Make the recurrence of one layer of `torch.nn.RNN`.

    Args:
        weights: of the layer; gradients flow to them.
        nonlinearity: "tanh" or "relu".

    Returns:
        The recurrence of states [..., D] and inputs [..., K].

    Raises:
        ValueError: if the nonlinearity is unknown.

    Example:
        >>> rnn = torch.nn.RNN(3, 2)
        >>> cell = rnn_recurrence(CellWeights(*rnn.all_weights[0]))
        >>> cell.step(torch.zeros(5, 2), torch.zeros(5, 3)).shape
        torch.Size([5, 2])
    """
    kernels = {"tanh": torch.rnn_tanh, "relu": torch.rnn_relu}
    if nonlinearity not in kernels:
        raise invalid("nonlinearity", nonlinearity, "'tanh' or 'relu'")
    act = getattr(torch, nonlinearity)

    def slope(y: Tensor) -> Tensor:
        return 1 - y * y if nonlinearity == "tanh" else (y > 0).to(y.dtype)

    def step(x: Tensor, inputs: Tensor) -> Tensor:
        return act(_from_input(weights, inputs) + _from_state(weights, x))

    def jacobian(_x: Tensor, _inputs: Tensor, y: Tensor) -> Tensor:
        return scale_rows(((slope(y), weights.from_state),))

    def pullback(_x: Tensor, _inputs: Tensor, y: Tensor, felt: Tensor) -> Tensor:
        return (slope(y) * felt) @ weights.from_state

    return Recurrence(step, jacobian, pullback, _kernel(weights, kernels[nonlinearity]))


def gru_recurrence(weights: CellWeights) -> Recurrence:
    """Make the recurrence of one layer of `torch.nn.GRU`.

    Args:
        weights: of the layer; gradients flow to them.

    Returns:
        The recurrence of states [..., D] and inputs [..., K].

    Example:
        >>> gru = torch.nn.GRU(3, 2)
        >>> cell = gru_recurrence(CellWeights(*gru.all_weights[0]))
        >>> cell.step(torch.zeros(5, 2), torch.zeros(5, 3)).shape
        torch.Size([5, 2])
    """

    def step(x: Tensor, inputs: Tensor) -> Tensor:
        _, update, new, _ = _gates(weights, x, inputs)
        return new + update * (x - new)

    def jacobian(x: Tensor, inputs: Tensor, _y: Tensor) -> Tensor:
        update, *factors = _gate_slopes(weights, x, inputs)
        gates = weights.from_state.chunk(3)
        matrices = scale_rows(tuple(zip(factors, gates, strict=True)))
        matrices.diagonal(dim1=-2, dim2=-1).add_(update)
        return matrices

    def pullback(x: Tensor, inputs: Tensor, _y: Tensor, felt: Tensor) -> Tensor:
        update, *factors = _gate_slopes(weights, x, inputs)
        by_gates = torch.cat([factor * felt for factor in factors], -1)
        return update * felt + by_gates @ weights.from_state

    return Recurrence(step, jacobian, pullback, _kernel(weights, torch.gru))


def _from_input(weights: CellWeights, inputs: Tensor) -> Tensor:
    return F.linear(inputs, weights.from_input, weights.input_bias)


def _from_state(weights: CellWeights, x: Tensor) -> Tensor:
    return F.linear(x, weights.from_state, weights.state_bias)


def _gates(
    weights: CellWeights, x: Tensor, inputs: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute r, z, n and m."""
    given, kept = _from_input(weights, inputs), _from_state(weights, x)
    reset_in, update_in, new_in = given.chunk(3, -1)
    reset_own, update_own, memory = kept.chunk(3, -1)
    reset = torch.sigmoid(reset_in + reset_own)
    update = torch.sigmoid(update_in + update_own)
    return reset, update, torch.tanh(new_in + reset * memory), memory


def _gate_slopes(
    weights: CellWeights, x: Tensor, inputs: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute what multiplies 1, A_r, A_z and A_n in the Jacobian."""
    reset, update, new, memory = _gates(weights, x, inputs)
    by_new = (1 - update) * (1 - new * new) * reset
    return update, by_new * memory * (1 - reset), (x - new) * update * (1 - update), by_new


def _kernel(
    weights: CellWeights, kernel: Callable[..., tuple[Tensor, Tensor]]
) -> Callable[[Tensor, Tensor], Tensor]:
    """Wrap torch's loop over one layer, which takes one axis of texts."""
    flat = [w for w in weights if w is not None]
    biased = weights.input_bias is not None

    def unroll(start: Tensor, inputs: Tensor) -> Tensor:
        rows = inputs.reshape(len(inputs), -1, inputs.shape[-1])
        first = start.reshape(1, -1, start.shape[-1])
        states, _ = kernel(rows, first, flat, biased, 1, 0.0, False, False, False)
        return states.reshape(len(inputs), *start.shape)

    return unroll
