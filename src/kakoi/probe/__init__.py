"""The probe: asks the network itself, and says only what it knows.

``plan`` turns the policy's truth table into orders, ``agent`` carries them out on each host (standard library
only), ``judge`` puts the answers beside the truth. See ``docs/explanation/probing.md``.
"""
