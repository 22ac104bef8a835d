"""What the machines really run, read back and kept as it was found (policy -> compile -> observe -> reach -> evidence)."""

from kakoi.observe.observation import HostObservations, Observation, read_observed

__all__ = ["HostObservations", "Observation", "read_observed"]
