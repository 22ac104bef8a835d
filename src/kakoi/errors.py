"""The exceptions and exit statuses that every command of kakoi shares."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """What the process tells its caller (design section 10)."""

    HELD = 0
    """Everything that was asked holds."""
    FAILED = 1
    """A guarantee, check or control does not hold."""
    INPUT_WRONG = 2
    """The policy, a file or the command line is wrong: mend it and run again."""
    UNKNOWN = 3
    """It could not be found out: never to be read as success."""


class KakoiError(Exception):
    """An expected failure: printed as one message with its remedy, never as a traceback."""

    exit_status = ExitStatus.UNKNOWN

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.remedy}" if self.remedy else self.message


class InputError(KakoiError):
    """The user's input is wrong."""

    exit_status = ExitStatus.INPUT_WRONG
