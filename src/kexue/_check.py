"""The one form of an error: what was given, what is allowed, and what to do instead."""


def invalid(name: str, given: object, allowed: str, fix: str = "") -> ValueError:
    """Build the error for a value that is not allowed; the caller raises it.

    Args:
        name: what the value is called in the signature or on the command line.
        given: the value itself; long values are shortened in the message.
        allowed: what would have been accepted.
        fix: a full sentence that says what to type instead, where that is not obvious.

    Returns:
        The error, so that the raising line stays in the caller's traceback.

    Example:
        >>> raise invalid("head", "crff", "'efficient', 'standard' or 'crf'")
        Traceback (most recent call last):
        ValueError: head is 'crff'; allowed: 'efficient', 'standard' or 'crf'.
    """
    shown = repr(given)
    if len(shown) > 200:
        shown = shown[:197] + "..."
    message = f"{name} is {shown}; allowed: {allowed}."
    return ValueError(f"{message} {fix}" if fix else message)
