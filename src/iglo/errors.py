"""The one exception for a mistake that the user can mend."""


class TrainingWarning(UserWarning):
    """One sentence for the user: a training has ended, what it has learned is of no use, and what to do."""


class UserError(Exception):
    """One sentence for the user: what is wrong, the value received, and what to do.

    Stages print it and exit with status 1; a traceback is kept for defects of our own.
    """
