"""The policy's own scalars: addresses, networks, days and ports, each read strictly and refused in plain words.

Lenient parsing is dangerous here: a number is not an address, ``20261001`` is not a day, ``0777`` is not a port.
"""

import re
from datetime import date
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from pydantic_core import PydanticCustomError

from kakoi.policy.problem import Bilingual, quote

REFUSED = "kakoi_refused"
"""Type of the pydantic errors raised here; their context holds the finished ``message`` and ``remedy``."""

_PORT = re.compile(r"[1-9][0-9]{0,4}\Z")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_LAST_PORT = 65535
_ADDRESS_REMEDY = Bilingual(
    'Write an address such as 10.40.3.10 or "fd00:43::10".', '10.40.3.10 や "fd00:43::10" のように書いてください。'
)
_NETWORK_REMEDY = Bilingual(
    'Write a network such as 10.40.3.0/24 or "fd00:43::/64".', '10.40.3.0/24 や "fd00:43::/64" のように書いてください。'
)
_PORT_REMEDY = Bilingual(
    'Write a port from 1 to 65535, or a range such as "8000-8100".',
    '1〜65535 のポート番号か "8000-8100" のような範囲を書いてください。',
)


def _refused(message: Bilingual, remedy: Bilingual) -> PydanticCustomError:
    return PydanticCustomError(REFUSED, "{message}", {"message": message, "remedy": remedy})


def parse_address(value: object) -> IPv4Address | IPv6Address:
    """An address of one host, without prefix length or interface."""
    if isinstance(value, (IPv4Address, IPv6Address)):
        return value
    text = value if isinstance(value, str) else ""
    try:
        address = ip_address(text)
    except ValueError:
        bare = text.partition("/")[0]
        remedy = _ADDRESS_REMEDY
        if bare != text and _is_address(bare):
            remedy = Bilingual(
                f"Write {bare} alone: the zone's network says how long the prefix is.",
                f"{bare} だけを書いてください。プレフィックス長はゾーンのネットワークで決まります。",
            )
        raise _refused(
            Bilingual(f"{quote(value)} is not an IP address", f"{quote(value)} はIPアドレスではありません"), remedy
        ) from None
    if isinstance(address, IPv6Address) and (address.scope_id or address.ipv4_mapped):
        raise _refused(
            Bilingual(
                f"{quote(value)} is not a plain IPv6 address", f"{quote(value)} は通常のIPv6アドレスではありません"
            ),
            Bilingual(
                "Write it without an interface name, and an IPv4 address as IPv4.",
                "インターフェース名を付けずに書き、IPv4アドレスはIPv4の形で書いてください。",
            ),
        )
    return address


def parse_network(value: object) -> IPv4Network | IPv6Network:
    """A network with its prefix length and no host bits."""
    if isinstance(value, (IPv4Network, IPv6Network)):
        return value
    text = value if isinstance(value, str) else ""
    start, slash, length = text.partition("/")
    if slash and length.isascii() and length.isdigit() and _is_address(start) and "%" not in start:
        try:
            network = ip_network(text)
        except ValueError:
            network = None
        if network is not None and network.prefixlen > 0:
            return network
        raise _refused(*_network_fault(text))
    if _is_address(text):
        raise _refused(
            Bilingual(f"{quote(text)} has no prefix length", f"{quote(text)} にプレフィックス長がありません"),
            _NETWORK_REMEDY,
        )
    raise _refused(
        Bilingual(f"{quote(value)} is not a network", f"{quote(value)} はネットワークではありません"), _NETWORK_REMEDY
    )


def _network_fault(text: str) -> tuple[Bilingual, Bilingual]:
    try:
        rounded = ip_network(text, strict=False)
    except ValueError:
        return (
            Bilingual(
                f"{quote(text)} has an impossible prefix length", f"{quote(text)} のプレフィックス長が正しくありません"
            ),
            _NETWORK_REMEDY,
        )
    if rounded.prefixlen == 0:
        return (
            Bilingual(f"{quote(text)} is every address there is", f"{quote(text)} は全アドレスを表します"),
            Bilingual(
                "Write the zone's own network; an untrusted zone stands for all other addresses by itself.",
                "ゾーン自身のネットワークを書いてください。untrusted のゾーンは残りの全アドレスを自動的に表します。",
            ),
        )
    return (
        Bilingual(f"{quote(text)} is an address inside a network", f"{quote(text)} はネットワークの途中のアドレスです"),
        Bilingual(f"Write {rounded}.", f"{rounded} と書いてください。"),
    )


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def parse_day(value: object) -> object:
    """A day of the calendar, written YYYY-MM-DD."""
    if type(value) is date:
        return value
    if isinstance(value, str) and _DAY.match(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise _refused(
                Bilingual(f"{quote(value)} is not a day of the calendar", f"{quote(value)} は暦にない日付です"),
                Bilingual("Write an existing day as YYYY-MM-DD.", "実在する日付を YYYY-MM-DD の形で書いてください。"),
            ) from None
    raise _refused(
        Bilingual(f"{quote(value)} is not a date", f"{quote(value)} は日付ではありません"),
        Bilingual(
            "Write it as YYYY-MM-DD, such as 2026-10-01.", "2026-10-01 のように YYYY-MM-DD の形で書いてください。"
        ),
    )


def parse_port_range(value: str | int) -> dict[str, int]:
    """First and last port of ``443`` or ``"8000-8100"``."""
    text = "" if isinstance(value, bool) else str(value)
    first, dash, last = (part.strip() for part in text.partition("-"))
    last = last if dash else first
    if not (_PORT.match(first) and _PORT.match(last) and int(first) <= _LAST_PORT and int(last) <= _LAST_PORT):
        raise _refused(
            Bilingual(
                f"{quote(value)} is not a port or a range of ports",
                f"{quote(value)} はポート番号でも範囲でもありません",
            ),
            _PORT_REMEDY,
        )
    if int(first) > int(last):
        raise _refused(
            Bilingual(
                f"the range {quote(value)} starts at {first} but ends at {last}",
                f"範囲 {quote(value)} の始まり {first} が終わり {last} より大きくなっています",
            ),
            Bilingual(f'Write "{last}-{first}".', f'"{last}-{first}" と書いてください。'),
        )
    return {"first": int(first), "last": int(last)}
