"""Say what is wrong with a value in the words of the file, not of the validator."""

from pydantic import ValidationError

from kexue.data.records import FormatError


def explain(error: ValidationError) -> FormatError:
    """Say in one sentence what the first error of a validation is, and how to mend it.

    Args:
        error: what pydantic raised.

    Returns:
        The same as a `FormatError`.

    Example:
        >>> from kexue.data.records import Record
        >>> try:
        ...     Record.model_validate({"text": "a", "entities": [{"start": "0"}]})
        ... except ValidationError as error:
        ...     print(explain(error).reason)
        entities[0].start is '0', not a whole number (and 2 more errors)
    """
    errors = error.errors(include_url=False, include_context=False)
    first = errors[0]
    where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"])
    where = where.removeprefix(".") or "the record"
    kind = first["type"]
    reason, fix = _SENTENCES.get(kind, ("is {given}; {message}", "Correct the value."))
    message = first["msg"].removeprefix("Value error, ")
    reason = reason.format(given=shorten(first["input"]), message=message)
    if kind == "value_error":
        reason = message if where == "the record" else f"{where}: {message}"
    else:
        reason = f"{where} {reason}"
    if len(errors) > 1:
        reason += f" (and {len(errors) - 1} more error{'s' if len(errors) > 2 else ''})"
    return FormatError(reason, fix)


_NUMBER = ("is {given}, not a whole number", 'Write offsets as bare numbers, as in "start": 3.')
_STRING = ("is {given}, not a string", "Put it between quotation marks.")
_SENTENCES = {
    "int_type": _NUMBER,
    "int_from_float": _NUMBER,
    "string_type": _STRING,
    "missing": ("is missing", "Add the key, or name the right format."),
    "list_type": ("is {given}, not a list", "Put the values between [ and ]."),
    "dict_type": ("is {given}, not an object", "Put the keys and values between { and }."),
    "model_type": ("is {given}, not an object", "Put the keys and values between { and }."),
    "greater_than_equal": ("is {given}, below 0", "Count characters from 0."),
    "string_too_short": ("is empty", "Give a name."),
    "value_error": ("", "Offsets count characters from 0, and end is exclusive: text[start:end]."),
}


EARLY = "ends one character early"
LATE = "ends one character late"


def compare_surface(text: str, start: int, end: int, label: str, surface: str) -> list[str]:
    """Compare what stands at a span with the surface that a file gives beside it.

    Args:
        text: the text of the record.
        start: index of the first character.
        end: index after the last character.
        label: the label of the span.
        surface: what the file says stands there.

    Returns:
        No sentence where they agree, else one, which says so where only the end is off by one.

    Example:
        >>> compare_surface("去北京玩", 1, 2, "place", "北京")
        ["place [1, 2) is '北', not '北京': it ends one character early"]
    """
    found = text[start:end]
    if found == surface:
        return []
    note = f"{label} [{start}, {end}) is {shorten(found, 30)}, not {shorten(surface, 30)}"
    if found and text[start : end + 1] == surface:
        note += f": it {EARLY}"
    elif surface and text[start : end - 1] == surface:
        note += f": it {LATE}"
    return [note]


def shorten(value: object, limit: int = 60) -> str:
    """Show a value in a message without flooding it.

    Args:
        value: anything.
        limit: the most characters to show.

    Returns:
        Its repr, cut in the middle of nowhere with three dots where it is longer.

    Example:
        >>> shorten("a" * 100, 9)
        "'aaaaa..."
    """
    shown = repr(value[: limit + 1] if isinstance(value, str | list) else value)
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."
