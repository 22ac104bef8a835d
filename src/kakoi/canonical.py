"""One JSON text for one value: sorted keys, no spaces, UTF-8, ending in a newline.

Equal states give equal bytes, so that a digest means something. For the values that kakoi writes (strings,
integers, booleans, null, lists, objects; never floating point) this is the form of RFC 8785, except that keys
are sorted by code point instead of UTF-16 unit, which differs only outside the Basic Multilingual Plane.
"""

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Write a value so that equal values give equal text.

    Raises:
        ValueError: a number is not finite.
        TypeError: the value is not JSON.
    """
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"


def sha256_of(data: bytes) -> str:
    """SHA-256 (FIPS 180-4) in lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
