"""kakoi (囲い): a closed intranet enclave, written as policy, provisioned, and proven.

Data goes one way, and no package imports one to its right: policy -> compile -> observe -> reach -> evidence.
"""

__version__ = "0.1.0"
