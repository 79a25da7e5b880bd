"""The few exceptions a user can meet. Each message is one line that names the value and what is accepted."""


class TubesError(Exception):
    """Something failed while working. The command line prints the message and exits with `exit_code`."""

    exit_code = 1


class UsageError(TubesError):
    """The call itself is wrong: an unknown class name, a value out of range, a contradiction between options."""

    exit_code = 2


class ModelError(TubesError):
    """A model file cannot be used: not ONNX, no manifest, or a manifest that does not fit its tensors."""


class SourceError(TubesError):
    """A video cannot be opened or read."""


class SinkError(TubesError):
    """An output cannot be opened or written."""


def one_line(error: BaseException) -> str:
    """The first line of what an error says; the name of its type where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def unforeseen(error: BaseException) -> str:
    """An error that nobody foresaw, in one line. Its type comes first: the words alone seldom tell what happened."""
    name, said = type(error).__name__, one_line(error)
    return name if said == name else f"{name}: {said}"
