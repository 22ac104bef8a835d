"""Exact answers about what an nftables ruleset lets through, with the rule that decides.

One way through: ``listing`` (a file or a private namespace -> JSON) -> ``reader`` (JSON -> ``syntax``) ->
``lowering`` (rules -> ``program``: products of interval sets over ``dimensions``) -> ``engine`` (a region of packets
walked over the program -> ``diagram``) -> ``decide``, ``space``, ``difference``.
"""
