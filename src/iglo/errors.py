"""The one exception for a mistake that the user can mend, and how a user's own words are shown in it."""


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
