"""`torch.nn.RNN` and `torch.nn.GRU` that treat all times at once, with the same weights.

    x_t = tanh(W u_t + b + A x_(t-1) + c),   the GRU likewise, layer by layer

Constructors, parameters and results are torch's, so that a state dict goes either way. What a layer
is solved by is chosen by its size and by how the first sweeps go; where torch's loop is the fastest
it is run, and the gradient is one scan all the same.

Post: https://kexue.fm/archives/9783
Axes: T times, B texts, D features of a state, K of an input
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from kexue._check import invalid
from kexue.numerics.parallel_rnn import solve_recurrence
from kexue.numerics.recurrence import Recurrence
from kexue.numerics.recurrence_cells import CellWeights, gru_recurrence, rnn_recurrence


class ParallelRNN(nn.RNN):
    """Take the place of `torch.nn.RNN`, with the same arguments, parameters and results.

    Attributes:
        method: as for `solve_recurrence`; "auto" unless set.
        solutions: of the last call, for each layer and direction how it was solved, as
            `RecurrenceResult.to_dict` tells it; empty for a packed sequence, which torch treats.

    Example:
        >>> rnn = ParallelRNN(3, 2, batch_first=True)
        >>> output, last = rnn(torch.zeros(1, 5000, 3))
        >>> output.shape, last.shape
        (torch.Size([1, 5000, 2]), torch.Size([1, 1, 2]))
        >>> rnn.solutions[0]["converged"]
        True
    """

    method = "auto"
    solutions: tuple[dict[str, bool | int | float | str], ...] = ()

    def forward(
        self, input: Tensor | PackedSequence, hx: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """Compute all states of the last layer.

        Args:
            input: [T, B, K], or [B, T, K] with `batch_first`, or [T, K]; or a packed sequence.
            hx: [layers * directions, B, D] states before the first; 0 by default.

        Returns:
            [T, B, directions * D], or as the input has it, and the last states, as `hx` has them.
        """
        if isinstance(input, PackedSequence):
            self.solutions = ()
            return super().forward(input, hx)
        cells = [
            rnn_recurrence(CellWeights(*w), nonlinearity=self.nonlinearity)
            for w in self.all_weights
        ]
        return _run(self, cells, input, hx)


class ParallelGRU(nn.GRU):
    """Take the place of `torch.nn.GRU`, with the same arguments, parameters and results.

    Attributes:
        method: as for `solve_recurrence`; "auto" unless set.
        solutions: as for `ParallelRNN`.

    Example:
        >>> gru = ParallelGRU(3, 2, num_layers=2)
        >>> output, last = gru(torch.zeros(5000, 1, 3))
        >>> output.shape, last.shape
        (torch.Size([5000, 1, 2]), torch.Size([2, 1, 2]))
    """

    method = "auto"
    solutions: tuple[dict[str, bool | int | float | str], ...] = ()

    def forward(
        self, input: Tensor | PackedSequence, hx: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """Compute all states of the last layer.

        Args:
            input: as for `ParallelRNN`.
            hx: likewise.

        Returns:
            All states of the last layer and the last states of all, as `ParallelRNN` gives them.
        """
        if isinstance(input, PackedSequence):
            self.solutions = ()
            return super().forward(input, hx)
        cells = [gru_recurrence(CellWeights(*w)) for w in self.all_weights]
        return _run(self, cells, input, hx)


def parallelize(module: nn.RNN | nn.GRU) -> ParallelRNN | ParallelGRU:
    """Make the parallel twin of a layer; both have the same parameters, not copies of them.

    Args:
        module: left as it is.

    Returns:
        The twin, for training or evaluation as the module is.

    Raises:
        ValueError: if the module is neither of the two.

    Example:
        >>> gru = torch.nn.GRU(3, 2)
        >>> twin = parallelize(gru)
        >>> twin.weight_hh_l0 is gru.weight_hh_l0
        True
    """
    kind = {nn.RNN: ParallelRNN, nn.GRU: ParallelGRU}.get(type(module))
    if kind is None:
        fix = "An LSTM has no parallel form here."
        raise invalid("module", type(module).__name__, "a torch.nn.RNN or torch.nn.GRU", fix)
    names = ("num_layers", "bias", "batch_first", "dropout", "bidirectional")
    names += ("nonlinearity",) if kind is ParallelRNN else ()
    options = {name: getattr(module, name) for name in names}
    twin = kind(module.input_size, module.hidden_size, **options, device="meta")
    for name, parameter in module.named_parameters():
        setattr(twin, name, parameter)
    return twin.train(module.training)


def _run(
    module: ParallelRNN | ParallelGRU, cells: list[Recurrence], given: Tensor, hx: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Run all layers on a tensor, with the axes that the module was made for."""
    if given.ndim not in (2, 3):
        raise invalid("input", tuple(given.shape), "[T, B, K], [B, T, K] or [T, K]")
    single = given.ndim == 2
    axis = 1 if single or not module.batch_first else 0  # of texts
    if single:
        given, hx = given.unsqueeze(1), hx if hx is None else hx.unsqueeze(1)
    if hx is None:
        hx = given.new_zeros(len(cells), given.shape[axis], module.hidden_size)
    module.check_forward_args(given.movedim(axis, 0 if module.batch_first else 1), hx, None)
    output, last = _layers(module, cells, given.movedim(axis, 1), hx)
    if single:
        return output.squeeze(1), last.squeeze(1)
    return output.movedim(1, axis), last


def _layers(
    module: ParallelRNN | ParallelGRU, cells: list[Recurrence], given: Tensor, hx: Tensor
) -> tuple[Tensor, Tensor]:
    """Run all layers on [T, B, K]."""
    directions = 2 if module.bidirectional else 1
    lasts, solutions = [], []
    for place in range(0, len(cells), directions):
        if place and module.training and module.dropout:
            given = F.dropout(given, module.dropout)
        outputs = []
        for k in range(directions):
            # The second direction reads the text from its end.
            inputs = given.flip(0) if k else given
            found = solve_recurrence(cells[place + k], hx[place + k], inputs, method=module.method)
            outputs.append(found.states.flip(0) if k else found.states)
            lasts.append(found.states[-1])
            solutions.append(found.to_dict())
        given = torch.cat(outputs, -1) if directions == 2 else outputs[0]
    module.solutions = tuple(solutions)
    return given, torch.stack(lasts)
