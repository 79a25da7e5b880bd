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
