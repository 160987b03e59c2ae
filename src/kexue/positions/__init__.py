"""Position maps: where a token is, as something attention can use."""

from kexue.positions.rope import rope_angles, rotate

__all__ = ["rope_angles", "rotate"]
