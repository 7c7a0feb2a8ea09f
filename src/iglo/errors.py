"""The exception for mistakes that the user can correct, warnings, and how messages show a user's text."""

import sys
import warnings


class IgloWarning(UserWarning):
    """A warning of one sentence: what iglo did other than asked, and what to do. Commands print it as one line."""


class TrainingWarning(IgloWarning):
    """A training has ended, but its result is useless."""


class UserError(Exception):
    """One sentence for the user: what is wrong, the value received, and what to do.

    Stages print it and exit with status 1; a traceback is kept for defects of our own.
    """


def shown(text: str) -> str:
    """A user's string (a file's name, a class) for a message; characters that cannot be printed are escaped.

    So the message stays one line, has no control characters, and can be written to any file.
    """
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def warn(message: str, category: type[IgloWarning] = IgloWarning) -> None:
    """Warns, and names the line of the caller outside this package."""
    level, frame = 0, sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("iglo", "contextlib"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level + 1)
