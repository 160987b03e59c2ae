"""Linear layers that add where others multiply, and the exchange of a model's layers for them.

    y = x (x) W^T + b,   (x) the matrix product of Mitchell products

The parameters stay the same objects, so that optimisers, tied weights and checkpoints go on
working; a network that was trained with one kind of products may be run with the other.

Post: https://kexue.fm/archives/7991
Paper: https://arxiv.org/abs/2012.03458
Axes: "..." any batch axes, D features in, E features out
"""

import copy

from torch import Tensor, nn

from kexue._check import invalid
from kexue.numerics.mitchell import check_options
from kexue.numerics.mitchell_matmul import mitchell_matmul

_OPTIONS = ("offset", "backward_mode")


class MitchellLinear(nn.Linear):
    """Apply an affine map without multiplications.

    Args:
        in_features: D, 1 or more.
        out_features: E, 1 or more.
        bias: whether to add one.
        offset: what is added to the logarithms of products, as for `mitchell_matmul`.
        backward: gradients, as for `mitchell_matmul`; by default these need no multiplications
            either.
        device: of the parameters, as for nn.Linear.
        dtype: of the parameters, as for nn.Linear.

    Example:
        >>> import torch
        >>> layer = MitchellLinear(2, 1, bias=False)
        >>> _ = nn.init.constant_(layer.weight, 1.5)
        >>> layer(torch.tensor([[1.5, 2.0]])).item()
        5.0
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        offset: float = 0.0,
        backward: str = "mitchell",
        device: object = None,
        dtype: object = None,
    ) -> None:
        check_options(offset, backward)
        super().__init__(in_features, out_features, bias, device=device, dtype=dtype)
        self.offset, self.backward_mode = offset, backward

    def forward(self, x: Tensor) -> Tensor:
        """Map vectors.

        Args:
            x: [..., D] floats.

        Returns:
            [..., E] of the common type of `x` and the weights.
        """
        options = {"offset": self.offset, "backward": self.backward_mode}
        y = mitchell_matmul(x, self.weight.T, **options)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Describe the layer; torch prints this in brackets."""
        return f"{super().extra_repr()}, offset={self.offset}, backward={self.backward_mode!r}"


def to_mitchell(
    model: nn.Module,
    *,
    offset: float = 0.0,
    backward: str = "mitchell",
    keep: tuple[str, ...] = (),
) -> nn.Module:
    """Exchange the linear layers of a model for those without multiplications.

    Subclasses of nn.Linear stay as they are, since what they compute is not known; so do weights
    that a module uses without calling a layer, such as those of nn.MultiheadAttention.

    Args:
        model: any model, changed in place.
        offset: of the layers, as for `MitchellLinear`.
        backward: likewise.
        keep: names of layers, or of modules with all layers inside, that stay as they are, such as
            ("classifier",).

    Returns:
        The model; a new layer with the same parameters where the model itself is one layer.

    Raises:
        ValueError: for unknown options and names, or if there is no layer to exchange.

    Example:
        >>> model = to_mitchell(nn.Sequential(nn.Linear(4, 2), nn.ReLU()))
        >>> model[0]
        MitchellLinear(in_features=4, out_features=2, bias=True, offset=0.0, backward='mitchell')
    """
    check_options(offset, backward)
    names = dict(model.named_modules(remove_duplicate=False))
    for name in keep:
        if name not in names:
            raise invalid("keep", name, "names from model.named_modules()")
    kept = {id(part) for name in keep for part in names[name].modules()}
    layers = [m for m in model.modules() if type(m) is nn.Linear and id(m) not in kept]
    if not layers:
        raise invalid("model", type(model).__name__, "a model with layers of type nn.Linear")
    options = {"offset": offset, "backward_mode": backward}
    return _exchange(model, {id(m): _rebuild(m, MitchellLinear, options) for m in layers})


def from_mitchell(model: nn.Module) -> nn.Module:
    """Exchange the layers without multiplications for ordinary ones.

    Args:
        model: any model, changed in place.

    Returns:
        The model; a new layer with the same parameters where the model itself is one layer.

    Example:
        >>> model = nn.Sequential(MitchellLinear(4, 2), nn.ReLU())
        >>> from_mitchell(model)[0]
        Linear(in_features=4, out_features=2, bias=True)
    """
    layers = [m for m in model.modules() if type(m) is MitchellLinear]
    return _exchange(model, {id(m): _rebuild(m, nn.Linear, {}) for m in layers})


def _rebuild(layer: nn.Linear, kind: type[nn.Linear], options: dict[str, object]) -> nn.Linear:
    """Make a layer of another kind with the same parameters, mode and hooks."""
    made = kind.__new__(kind)
    state = {name: value for name, value in vars(layer).items() if name not in _OPTIONS}
    # Of their own, so that a hook or a parameter added later belongs to one layer
    state = {n: copy.copy(v) if isinstance(v, dict) else v for n, v in state.items()}
    vars(made).update(state | options)
    return made


def _exchange(model: nn.Module, made: dict[int, nn.Linear]) -> nn.Module:
    """Put layers in the places of others, wherever these are used."""
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if name and id(module) in made:
            model.set_submodule(name, made[id(module)])
    return made.get(id(model), model)
