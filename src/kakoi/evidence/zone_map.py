"""The zone map: every zone as a room, every gateway as the wall between rooms, drawn as SVG.

Rooms stand in rows by how many gateways lie between them and the nearest untrusted zone, so the eye reads
from the internet at the top down to the data at the bottom. The drawing is a pure function of the policy.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from kakoi.policy import Policy
from kakoi.policy.model import Zone
from kakoi.policy.sets import internet_facing, my_number_stores, untrusted_zones

_WIDTH = 1180
_MARGIN = 24
_GAP = 20
_WALL = 58
_LINE = 19
_HEAD = 66
_FONT = "'Noto Sans JP','Noto Sans CJK JP','IPAexGothic','Hiragino Sans',sans-serif"

_LOOKS: Mapping[str, tuple[str, str, str]] = {
    "outside": ("#fdecea", "#b3261e", "外部 outside"),
    "internet_connected": ("#fff4e0", "#a15c00", "インターネット接続系 internet-connected"),
    "lgwan_connected": ("#e8f0fe", "#1a56a8", "LGWAN接続系 LGWAN-connected"),
    "mynumber_use": ("#f3e8fd", "#6b3fa0", "マイナンバー利用事務系 My Number use"),
    "enclave": ("#e6f4ea", "#1e6b3a", "囲い enclave"),
}
"""Layer -> fill, ink, title."""


@dataclass(frozen=True)
class _Room:
    zone: Zone
    left: float
    top: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.left + self.width / 2


def zone_depths(policy: Policy) -> dict[str, int]:
    """Zone -> number of gateways on the shortest way from an untrusted zone; unreached zones come last."""
    depths = dict.fromkeys(untrusted_zones(policy), 0)
    waiting = deque(depths)
    while waiting:
        zone = waiting.popleft()
        for gateway in policy.gateways():
            if zone in gateway.interfaces:
                for neighbour in gateway.interfaces:
                    if neighbour not in depths:
                        depths[neighbour] = depths[zone] + 1
                        waiting.append(neighbour)
    deepest = max(depths.values(), default=0) + 1
    return {zone: depths.get(zone, deepest) for zone in policy.zones}


def zone_map_svg(policy: Policy) -> str:
    """Draw the policy's zones, gateways and hosts as one self-contained SVG document."""
    depths = zone_depths(policy)
    rooms: dict[str, _Room] = {}
    walls: dict[int, float] = {}
    top = float(_MARGIN)
    for depth in sorted(set(depths.values())):
        row = [zone for zone in policy.zones.values() if depths[zone.id] == depth]
        height = _HEAD + 14 + _LINE * max(len(_hosts_of(policy, zone.id)) for zone in row)
        width = (_WIDTH - 2 * _MARGIN - _GAP * (len(row) - 1)) / len(row)
        for position, zone in enumerate(row):
            rooms[zone.id] = _Room(zone, _MARGIN + position * (width + _GAP), top, width, height)
        walls[depth] = top + height
        top += height + _WALL
    total_height = top - _WALL + 54
    drawn = [*_wires(policy, rooms, depths, walls), *(_room(policy, room) for room in rooms.values())]
    drawn += [*_gateways(policy, rooms, depths, walls), _legend(total_height)]
    title = f"{policy.enclave.body.name} ゾーン図 / zone map"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {total_height:.0f}" role="img"'
        f' font-family="{_FONT}"><title>{escape(title)}</title>'
        f'<rect width="100%" height="100%" fill="#ffffff"/>' + "".join(drawn) + "</svg>\n"
    )


def _hosts_of(policy: Policy, zone: str) -> list[str]:
    return [host.id for host in policy.hosts.values() if host.kind != "gateway" and zone in host.interfaces]


def _room(policy: Policy, room: _Room) -> str:
    fill, ink, layer = _LOOKS[room.zone.layer]
    facing, stores = set(internet_facing(policy)), set(my_number_stores(policy))
    left, top = room.left + 14, room.top
    lines = [
        (
            f'<rect x="{room.left:.1f}" y="{top:.1f}" width="{room.width:.1f}" height="{room.height:.1f}" rx="8"'
            f' fill="{fill}" stroke="{ink}" stroke-width="1.5"/>'
        ),
        (
            f'<text x="{left:.1f}" y="{top + 21:.1f}" font-size="14" font-weight="700" fill="{ink}">'
            f"{escape(room.zone.name)}</text>"
        ),
        f'<text x="{left:.1f}" y="{top + 38:.1f}" font-size="11" fill="{ink}">{escape(room.zone.id)} · {layer.split()[0]}</text>',
        (
            f'<text x="{left:.1f}" y="{top + 54:.1f}" font-size="10" fill="#5f6368" font-family="monospace">'
            f"{escape(' '.join(str(network) for network in room.zone.networks))}</text>"
        ),
    ]
    for number, host in enumerate(_hosts_of(policy, room.zone.id)):
        marks = [look for look, members in ((("◆", "#b3261e"), facing), (("■", "#1e6b3a"), stores)) if host in members]
        drawn_marks = "".join(f'<tspan fill="{colour}">{mark}</tspan>' for mark, colour in marks or [("·", "#5f6368")])
        external = "" if policy.hosts[host].managed == "ansible" else " ⌂"
        baseline = top + _HEAD + 10 + number * _LINE
        lines.append(
            f'<text x="{left:.1f}" y="{baseline:.1f}" font-size="12.5" fill="#202124">{drawn_marks}'
            f' {escape(policy.hosts[host].name)} <tspan fill="#5f6368" font-size="10.5">{escape(host)}{external}</tspan></text>'
        )
    return "".join(lines)


def _wall_depth(interfaces: Mapping[str, object], depths: Mapping[str, int]) -> int:
    return min(depths[zone] for zone in interfaces)


def _gateway_places(
    policy: Policy, rooms: Mapping[str, _Room], depths: Mapping[str, int], walls: Mapping[int, float]
) -> list[tuple[str, float, float]]:
    places: list[tuple[str, float, float]] = []
    for gateway in policy.gateways():
        depth = _wall_depth(gateway.interfaces, depths)
        inner = [rooms[zone].middle for zone in gateway.interfaces if depths[zone] > depth]
        middles = inner or [rooms[zone].middle for zone in gateway.interfaces]
        places.append((gateway.id, sum(middles) / len(middles), walls[depth] + _WALL / 2))
    return places


def _wires(
    policy: Policy, rooms: Mapping[str, _Room], depths: Mapping[str, int], walls: Mapping[int, float]
) -> list[str]:
    wires: list[str] = []
    for gateway, across, down in _gateway_places(policy, rooms, depths, walls):
        for zone in policy.hosts[gateway].interfaces:
            room = rooms[zone]
            end = room.top if room.top > down else room.top + room.height
            # A room above the wall is met further in, so that its wire never runs into one of a room below.
            inset = 24 if room.top > down else 72
            reach = min(max(across, room.left + inset), room.left + room.width - inset)
            wires.append(
                f'<path d="M{across:.1f} {down:.1f} H{reach:.1f} V{end:.1f}" fill="none" stroke="#5f6368" stroke-width="2"/>'
            )
    return wires


def _gateways(
    policy: Policy, rooms: Mapping[str, _Room], depths: Mapping[str, int], walls: Mapping[int, float]
) -> list[str]:
    drawn: list[str] = []
    for gateway, across, down in _gateway_places(policy, rooms, depths, walls):
        name = policy.hosts[gateway].name
        width = 30 + 13 * len(name) + 7 * len(gateway)
        drawn.append(
            f'<rect x="{across - width / 2:.1f}" y="{down - 15:.1f}" width="{width}" height="30" rx="15" fill="#202124"/>'
            f'<text x="{across:.1f}" y="{down + 5:.1f}" font-size="13" fill="#ffffff" text-anchor="middle">'
            f'{escape(name)} <tspan font-size="11" fill="#dadce0">{escape(gateway)}</tspan></text>'
        )
    return drawn


def _legend(height: float) -> str:
    entries = (
        ("◆", "#b3261e", "インターネットに面したホスト internet-facing"),
        ("■", "#1e6b3a", "特定個人情報の保管先 My Number store"),
        ("⌂", "#5f6368", "他の所管 managed by others"),
    )
    parts = [
        f'<tspan dx="{0 if number == 0 else 28}" fill="{colour}">{mark}</tspan><tspan fill="#202124"> {text}</tspan>'
        for number, (mark, colour, text) in enumerate(entries)
    ]
    return f'<text x="{_MARGIN}" y="{height - 20:.0f}" font-size="12">{"".join(parts)}</text>'
