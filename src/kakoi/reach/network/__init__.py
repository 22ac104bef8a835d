"""The whole network: who can open a connection to whom, through which hosts, and what that guarantees.

One way through: ``reading`` (a policy, observed folders, or both) -> ``model`` (machines on wires) -> ``filters`` (what each
machine lets through) -> ``travel`` (packets from wire to wire) -> ``attack`` (what falls after what) -> ``guarantees``.
"""
