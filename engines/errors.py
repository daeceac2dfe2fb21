"""The root of the exception tree; every message is one line that says what is wrong."""


class DscsnetError(Exception):
    """Base of all errors that a user can act on; the command line prints them as one line."""


class ModelError(DscsnetError):
    """A model folder is missing, altered or does not fit its engine."""


class GoldenCheckFailed(ModelError):
    """A runtime does not compute what a model's float64 reference does."""


class InferenceError(DscsnetError):
    """A runtime could not execute a batch."""
