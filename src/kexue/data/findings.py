"""What `check` finds."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or odd, with its place and the way out.

    Args:
        path: the file.
        line: the line of the record, None where the whole file is meant.
        kind: the rule, such as `out-of-range`.
        message: what was found, without a full stop.
        fix: a full sentence that says what to do.
        severity: `error` where labels are lost or wrong, `warning` where that may be so, `info`.

    Example:
        >>> print(Finding("a.jsonl", 3, "crossing", "a and b cross", "Look.", "warning"))
        a.jsonl:3: warning: crossing: a and b cross. Look.
    """

    path: str
    line: int | None
    kind: str
    message: str
    fix: str
    severity: str

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.severity}: {self.kind}: {self.message}. {self.fix}"

    def to_dict(self) -> dict[str, Any]:
        """Give the finding as a JSON object.

        Returns:
            A new dict.
        """
        return asdict(self)
