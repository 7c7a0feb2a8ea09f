"""The one exception for a mistake that the user can mend, and how a user's own words are shown in it."""

import sys
import warnings


class IgloWarning(UserWarning):
    """One sentence for the user: what was done otherwise than asked, and what to do. Commands print it as one line."""


class TrainingWarning(IgloWarning):
    """A training has ended, and what it has learned is of no use."""


class UserError(Exception):
    """One sentence for the user: what is wrong, the value received, and what to do.

    Stages print it and exit with status 1; a traceback is kept for defects of our own.
    """


def shown(text: str) -> str:
    """A user's string (a file's name, a class) for a message: what has no printed form is escaped as in Python.

    A newline cannot break the sentence, a control character cannot reach the terminal, and a name that is not UTF-8
    can be written to any file.
    """
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def warn(message: str, category: type[IgloWarning] = IgloWarning) -> None:
    """Warns of the line outside this package that led here, however many functions lie between."""
    level, frame = 0, sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("iglo", "contextlib"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level + 1)
