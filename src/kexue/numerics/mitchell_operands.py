"""Operands of any kind as tensors of one type, and results as the kind that came in.

Numbers of Python, arrays of NumPy and tensors may be mixed, by the rules of the library that they
are of: NumPy's where there is no tensor, those of torch where there is one.

Post: https://kexue.fm/archives/7991
Axes: "..." any axes that broadcast
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from kexue._check import invalid

Operand = float | np.ndarray | np.number | Tensor
_ALLOWED = "numbers of type float16, bfloat16, float32, float64 or integers of 8 to 64 bits"
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)
_NUMPY = "efdbhilqBHILQ"
_TO_FLOATS = "Convert to float64, which has room for more."


def compute(
    operands: tuple[Operand, ...],
    *,
    floats: Callable[..., Tensor],
    integers: Callable[..., Tensor],
) -> Operand:
    """Apply a function of tensors to operands of any kind.

    Args:
        operands: one or two numbers, arrays or tensors.
        floats: applied to tensors that are all of float32 or all of float64, as they are wide
            enough for the common type of the operands.
        integers: applied instead where all are integers, to tensors of int64.

    Returns:
        What the function gave: a tensor where there is one among the operands, an array or a
        number of NumPy where there is one of these, and else a number of Python. Floats are of the
        common type.

    Raises:
        ValueError: if an operand is something else, or of another type.

    Example:
        >>> half = torch.tensor([1.5], dtype=torch.bfloat16)
        >>> compute((half, 2.0), floats=torch.add, integers=torch.add)
        tensor([3.5000], dtype=torch.bfloat16)
        >>> compute((np.array([3.0]), 4), floats=torch.add, integers=torch.add)
        array([7.])
    """
    if any(isinstance(x, Tensor) for x in operands):
        return _apply(*_align_tensors(operands), floats, integers)
    result = _apply(*_align_arrays(operands), floats, integers).numpy()
    if all(isinstance(x, int | float) and not isinstance(x, np.number) for x in operands):
        return result.item()
    return result[()]


def _apply(
    tensors: list[Tensor],
    dtype: torch.dtype,
    floats: Callable[..., Tensor],
    integers: Callable[..., Tensor],
) -> Tensor:
    """Choose the function by the common type."""
    if dtype in _INTEGERS:
        return integers(*(x.to(torch.int64) for x in tensors))
    if dtype not in _FLOATS:
        raise invalid("the operands' type", dtype, _ALLOWED)
    wide = torch.promote_types(dtype, torch.float32)
    return floats(*(x.to(wide) for x in tensors)).to(dtype)


def _align_tensors(operands: tuple[Operand, ...]) -> tuple[list[Tensor], torch.dtype]:
    """Put everything on the device of the first tensor that is no single number."""
    given = [_from_array(x) if isinstance(x, np.ndarray | np.generic) else x for x in operands]
    given = [_signed(x) if isinstance(x, Tensor) else x for x in given]
    if not all(isinstance(x, Tensor | int | float) for x in given):
        raise invalid("the operands", operands, _ALLOWED)
    tensors = [x for x in given if isinstance(x, Tensor)]
    device = max(tensors, key=lambda x: x.dim() > 0).device
    # The type of a number counts, not its size
    plain = [x if isinstance(x, Tensor) else type(x)(1) for x in given]
    dtype = torch.result_type(*plain) if len(plain) > 1 else plain[0].dtype
    aligned = [_to_tensor(x, dtype, device) for x in given]
    return aligned, dtype


def _to_tensor(x: float | Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Make a tensor of a number; leave the type of a tensor."""
    if isinstance(x, Tensor):
        return x.to(device) if x.dim() == 0 else x
    if dtype in _INTEGERS:
        _check_integer(x)
        return torch.tensor(x, dtype=torch.int64, device=device)
    return torch.tensor(x, dtype=torch.promote_types(dtype, torch.float32), device=device)


def _align_arrays(operands: tuple[Operand, ...]) -> tuple[list[Tensor], torch.dtype]:
    """Find NumPy's common type and take all to it."""
    given = [x if isinstance(x, int | float) else np.asarray(x) for x in operands]
    try:
        common = np.result_type(*given)
    except TypeError as error:
        raise invalid("the operands", operands, _ALLOWED) from error
    if common.char not in _NUMPY:
        raise invalid("the operands' type", str(common), _ALLOWED)
    # Next to an array of small integers, a number of Python may be larger than they are
    wide = np.dtype(np.int64) if common.kind in "iu" else common.newbyteorder("=")
    tensors = [_signed(_from_array(_widened(x, wide))) for x in given]
    return tensors, tensors[0].dtype


def _widened(x: float | np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Convert to a type; leave integers that int64 may not hold for the check of their range."""
    if dtype.kind == "i" and isinstance(x, int):
        _check_integer(x)
    return (
        x if getattr(x, "dtype", None) == np.uint64 and dtype.kind == "i" else np.asarray(x, dtype)
    )


def _check_integer(x: int) -> None:
    """Refuse a number of Python that int64 has no room for."""
    if not -(2**63) <= x < 2**63:
        raise invalid("an operand", x, "integers from -2**63 to 2**63 - 1", _TO_FLOATS)


def _signed(x: Tensor) -> Tensor:
    """Make signed integers of unsigned ones; torch cannot compute with most of these."""
    if x.dtype not in (torch.uint16, torch.uint32, torch.uint64):
        return x
    signed = x.to(torch.int64)
    if x.dtype == torch.uint64 and bool((signed < 0).any()):
        raise invalid("an operand", x, "integers from -2**63 to 2**63 - 1", _TO_FLOATS)
    return signed


def _from_array(x: np.ndarray) -> Tensor:
    """Share the memory of an array where torch can."""
    x = np.asarray(x, x.dtype.newbyteorder("="))
    if not x.flags.writeable or any(stride < 0 for stride in x.strides):
        x = x.copy()
    return torch.from_numpy(x)
