"""The policy language: what a body writes, as typed data (policy -> compile -> observe -> reach -> evidence)."""

from kakoi.policy.load import load_policy
from kakoi.policy.model import Policy

__all__ = ["Policy", "load_policy"]
