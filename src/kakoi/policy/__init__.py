"""The policy language: what a body writes, as typed data (policy -> compile -> observe -> reach -> evidence)."""

from kakoi.policy.load import load_policy
from kakoi.policy.model import Policy
from kakoi.policy.problem import PolicyError

__all__ = ["Policy", "PolicyError", "load_policy"]
