"""What may go wrong, in words for the person at the keyboard.

Every failure a user can meet is a `Topo4DError`: one sentence that names the file, what is wrong and what to do.
Its class decides the exit status of the command line and the `code` of the worker's error event. May know nothing else.
"""


class Topo4DError(Exception):
    """A failure with a sentence for the user; `exit_status` is the process's, `code` the worker protocol's."""

    exit_status = 1
    code = "failed"


class RequestError(Topo4DError):
    """What was asked cannot be done as asked: a wrong path, a broken input, a clash with an earlier take. Exit 2."""

    exit_status = 2
    code = "request"

    def __init__(self, sentence: str, hint: str = "") -> None:
        """`hint` is said in Blender besides, where what the sentence advises has another name."""
        super().__init__(sentence)
        self.hint = hint


class StorageError(Topo4DError):
    """The place that was named does not take the result: the disk is full, or it may not be written. Exit 2.

    To the command line a wrong request; to the worker's reader a failure of work that may have finished frames.
    """

    exit_status = 2
    code = "failed"


class WorkError(Topo4DError):
    """The request was right and the work failed all the same: the memory is spent. Exit 1."""

    exit_status = 1
    code = "failed"


class Cancelled(Topo4DError):
    """The user stopped the work; everything finished so far is kept. Exit 1."""

    exit_status = 1
    code = "cancelled"
