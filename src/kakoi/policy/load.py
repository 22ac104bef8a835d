"""Read a policy folder, or say everything that is wrong with it."""

from datetime import date
from pathlib import Path

from kakoi.policy.check import check_policy
from kakoi.policy.model import Policy
from kakoi.policy.problem import PolicyError


def load_policy(directory: Path, today: date | None = None) -> Policy:
    """The policy of a folder, read, typed and judged.

    Args:
        directory: Folder with the policy's files.
        today: Day that review dates are judged by; the machine's day when left out.

    Raises:
        PolicyError: With every problem, when there is any error. Warnings do not stop a policy.
    """
    report = check_policy(directory, today)
    if report.policy is None:
        raise PolicyError(report.errors)
    return report.policy
