"""Errors and warnings for the user, and how messages show a user's text."""

import sys
import warnings


class IgloWarning(UserWarning):
    """A warning of one sentence: what iglo has done differently, and what to do. Commands print it as one line."""


class TrainingWarning(IgloWarning):
    """A training has ended, but its result is useless."""


class UserError(Exception):
    """A mistake that the user can correct. The message is one sentence: what is wrong, the value received, what to do.

    Stages print the message and exit with status 1. Only defects of iglo show a traceback.
    """


def shown(text: str) -> str:
    """Returns a user's text (the name of a file or class) for a message, with unprintable characters escaped.

    So the message is one line, has no control characters, and can be written to any file.
    """
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def warn(message: str, category: type[IgloWarning] = IgloWarning) -> None:
    """Issues a warning that names the line of the caller outside this package."""
    level, frame = 0, sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("iglo", "contextlib"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level + 1)
