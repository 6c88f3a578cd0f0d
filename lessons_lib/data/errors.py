"""The errors of ``lessons_lib.data``: what a user can mend, named."""


class DataError(ValueError):
    """A file or an array breaks a rule: the message names the file and the rule."""


class DownloadError(RuntimeError):
    """A download failed: the message says what to fetch by hand and where to put it."""


class DataWarning(UserWarning):
    """A reader's data can be used, but something about them should be known."""
