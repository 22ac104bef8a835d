"""The policy as typed, frozen data: what a body wrote in ``policy/*.yml``.

Every model is closed (an unknown key is an error) and frozen. Identifiers are the keys of the YAML
mappings; the loader puts them into ``id``. Terms follow the guideline's vocabulary; the Japanese term
stands beside each field. Nothing here opens a file or judges the domain: see ``load`` and ``rules``.
"""

from collections.abc import Mapping
from datetime import date
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StringConstraints,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from kakoi.policy.scalars import parse_address, parse_day, parse_network, parse_port_range

Address = Annotated[
    IPv4Address | IPv6Address,
    PlainValidator(parse_address),
    WithJsonSchema({"type": "string", "examples": ["10.40.3.10", "fd00:43::10"]}),
]
Network = Annotated[
    IPv4Network | IPv6Network,
    PlainValidator(parse_network),
    WithJsonSchema({"type": "string", "pattern": "/[0-9]{1,3}$", "examples": ["10.40.3.0/24", "fd00:43::/64"]}),
]
Day = Annotated[date, BeforeValidator(parse_day)]
"""A day, written YYYY-MM-DD."""
type Family = Literal["ipv4", "ipv6"]
type Transport = Literal["tcp", "udp"]

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
"""Lower-case letters, digits and underscores, 31 characters at most: also a chain, host and file name."""
SentenceIdentifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""Like Identifier, with 63 characters: flows, assets, guarantees, tasks; it fits an nftables comment."""
Text = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=400,
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*$",
    ),
]
"""A sentence or title for people, in any language, on one line: it also ends up in comments of generated files."""
DeviceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$")]
"""A network device as the kernel names it (at most 15 characters, IFNAMSIZ)."""


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


References = Annotated[tuple[SentenceIdentifier, ...], BeforeValidator(_one_or_many), Field(min_length=1)]
"""One identifier or a list of them: zones, hosts, groups, assets or computed sets."""


class Closed(BaseModel):
    """Base of every policy model: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True)


class PortRange(Closed):
    """One port or an inclusive range, written ``443`` or ``"8000-8100"``."""

    first: int = Field(ge=1, le=65535)
    last: int = Field(ge=1, le=65535)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return parse_port_range(value) if isinstance(value, (str, int)) else value

    @model_serializer
    def _as_text(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


# ---------------------------------------------------------------------------------- enclave.yml


DOMAIN_PATTERN = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


class Body(Closed):
    """The local government that owns the policy (団体)."""

    name: Text
    """Name in Japanese."""
    name_en: Text
    """Name in English."""
    domain: Annotated[str, StringConstraints(max_length=200, pattern=DOMAIN_PATTERN)]
    """Domain of every host's name."""
    fictional: StrictBool = False
    """True for a body that does not exist: printed on every page."""


class Guideline(Closed):
    """The guideline version that the body adopted (採用した版)."""

    name: Text
    """Its name (名称)."""
    version: Text
    """The version that was adopted, in the words of the document (版)."""


class Task(Closed):
    """Work that uses the number (事務)."""

    id: SentenceIdentifier
    name: Text
    """Name of the work (事務の名称)."""
    kind: Literal["number_use", "number_related"]
    """個人番号利用事務 or 個人番号関係事務."""


class Administration(Closed):
    """Who operates the enclave, and from where (運用)."""

    controller: Identifier
    """Host that playbooks are run from."""
    automation_user: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,30}$")]
    """Account that Ansible logs in with."""
    package_mirror: Identifier
    """Host that serves the inside package repository."""
    time_server: Identifier
    """Host that gives the time."""
    past_review: Literal["error", "warning"] = "error"
    """What a flow past its review date is."""


class Enclave(Closed):
    """``enclave.yml``: the body, its model, its scope."""

    body: Body
    """The body (団体)."""
    model: Literal["alpha", "alpha_prime", "beta", "beta_prime"]
    """三層の対策 model: α, α', β, β'."""
    guideline: Guideline
    """The guideline that it follows."""
    tasks: Mapping[SentenceIdentifier, Task]
    """Work that the enclave is for (事務)."""
    administration: Administration
    """Who operates it, and from where (運用)."""


# ------------------------------------------------------------------------------------ zones.yml

type Layer = Literal["outside", "internet_connected", "lgwan_connected", "mynumber_use", "enclave"]
type Trust = Literal["untrusted", "exposed", "internal", "restricted"]


class Zone(Closed):
    """A set of networks with one level of trust (ゾーン)."""

    id: Identifier
    name: Text
    """Name for people."""
    layer: Layer
    """Which layer of the three-layer measures: インターネット接続系, LGWAN接続系, マイナンバー利用事務系, or the enclave."""
    trust: Trust
    """Untrusted (outside the body's power), exposed (offers something to the outside), internal or restricted."""
    networks: tuple[Network, ...] = Field(min_length=1)
    """Networks on the zone's own wire. An untrusted zone also stands for every address that no other zone has."""
    families: tuple[Family, ...] = Field(default=("ipv4", "ipv6"), min_length=1)
    """Address families in use. Leaving one out is a decision that is written down, never an oversight."""
    default_route: Identifier | None = None
    """Gateway that the zone's hosts send everything else to. None: no route to the internet at all."""
    upstream: tuple[Address, ...] = ()
    """Routers of the provider on an untrusted zone's wire, one for each family; its gateways send everything else there."""


# ------------------------------------------------------------------------------------ hosts.yml


class Host(Closed):
    """A machine with its own addresses (ホスト)."""

    id: Identifier
    name: Text
    """Name for people."""
    kind: Literal["gateway", "server", "terminal"]
    """Gateways route between zones; stores are servers; handlers sit at terminals."""
    managed: Literal["ansible", "external"] = "ansible"
    """``external``: kakoi neither logs in nor writes to it (a vendor's appliance, somebody else's machine)."""
    os: Literal["debian13", "debian12"] = "debian13"
    """Operating system."""
    interfaces: Mapping[Identifier, tuple[Address, ...]] = Field(min_length=1)
    """Zone -> this host's addresses there. Only a gateway stands in more than one zone."""
    devices: Mapping[Identifier, DeviceName] = {}
    """Zone -> device name, where it is not the zone's own name."""

    def device(self, zone: str) -> str:
        """Name of the network device that stands in a zone."""
        return self.devices.get(zone, zone[:15])


class Group(Closed):
    """A named set of zones and hosts."""

    id: Identifier
    name: Text
    """Name for people."""
    members: References
    """Zones, hosts, groups, assets or computed sets."""


# --------------------------------------------------------------------------------- services.yml

type IcmpType = Literal["echo-request"]


class Service(Closed):
    """A named set of protocols and ports (サービス)."""

    id: Identifier
    name: Text
    """Name for people."""
    tcp: tuple[PortRange, ...] = ()
    """TCP ports."""
    udp: tuple[PortRange, ...] = ()
    """UDP ports."""
    icmp: tuple[IcmpType, ...] = ()
    """ICMP types (IPv4)."""
    icmpv6: tuple[IcmpType, ...] = ()
    """ICMPv6 types."""


# ------------------------------------------------------------------------------------ flows.yml


class Flow(Closed):
    """One allowed connection (許可通信): who may open what to whom, why, and who said so until when."""

    id: SentenceIdentifier
    from_: References = Field(alias="from")
    """Who opens the connection."""
    to: References
    """Who accepts it."""
    services: References
    """What may be used."""
    purpose: Text
    """Why the body needs it (目的)."""
    approver: Text
    """Who allowed it (承認者)."""
    approved: Day
    """Day of approval (承認日)."""
    review_by: Day
    """Day by which it is reviewed or ends (見直し期限)."""
    transfer: Literal["screen_transfer", "sanitised"] | None = None
    """How it crosses from インターネット接続系 into LGWAN接続系: 画面転送, or 無害化通信."""


# ----------------------------------------------------------------------------------- assets.yml

type Subject = Literal["own_employees", "dependants_of_employees", "residents"]
type Information = Literal["specific_personal_information", "personal_information", "official", "public"]


class Handlers(Closed):
    """Who may work with an asset, and where (事務取扱担当者)."""

    title: Text
    """Section and duty of the people (所属と担当)."""
    terminals: tuple[Identifier, ...] = Field(min_length=1)
    """Terminals they work at."""


class Asset(Closed):
    """An information asset (情報資産)."""

    id: SentenceIdentifier
    name: Text
    """Name for people."""
    confidentiality: Literal["3A", "3B", "3C", "2", "1"]
    """自治体機密性, as the body itself classified it."""
    information: Information
    """特定個人情報, 個人情報, other official information, or public."""
    subjects: tuple[Subject, ...] = ()
    """Whose numbers or data."""
    tasks: tuple[SentenceIdentifier, ...] = ()
    """事務 that use it."""
    purpose: Text
    """利用目的."""
    stores: tuple[Identifier, ...] = Field(min_length=1)
    """Hosts that keep it."""
    handlers: tuple[Handlers, ...] = ()
    """事務取扱担当者 and their terminals."""
    dependants_decision: Text | None = None
    """Who decided, and when, that dependants' numbers may be handled in インターネット接続系 or the enclave: the
    ministry's reply speaks of the body's own employees and does not state them."""


# ------------------------------------------------------------------------------- guarantees.yml


class _Guarantee(Closed):
    id: SentenceIdentifier
    why: Text
    """What would be lost if it broke, in a sentence for people."""


class Isolated(_Guarantee):
    """No new connection from A to B: any service, both families, any number of routed hops."""

    kind: Literal["isolated"]
    """Kind of guarantee."""
    from_: References = Field(alias="from")
    """Where an attacker starts."""
    to: References
    """What must stay out of reach."""
    by: Literal["direct", "pivot"] = "direct"
    """``direct``: one connection; ``pivot``: host after host that falls into the attacker's hands."""


class NoInternetPath(_Guarantee):
    """No connection between these and any untrusted zone, in either direction."""

    kind: Literal["no_internet_path"]
    """Kind of guarantee."""
    of: References
    """What has no path to or from the internet."""


class OnlyVia(_Guarantee):
    """Every path of compromised hosts from A to B passes through one of the guards."""

    kind: Literal["only_via"]
    """Kind of guarantee."""
    from_: References = Field(alias="from")
    """Where an attacker starts."""
    to: References
    """What is guarded."""
    via: References
    """The guards that every path passes."""


class Exactly(_Guarantee):
    """What can open a connection to B is exactly what the flows say."""

    kind: Literal["exactly"]
    """Kind of guarantee."""
    to: References
    """What is reached by the flows and by nothing else."""


class Survives(_Guarantee):
    """Another guarantee still holds when any ``failures`` enforcement points accept everything."""

    kind: Literal["survives"]
    """Kind of guarantee."""
    guarantee: SentenceIdentifier
    """The guarantee that still holds."""
    failures: Annotated[int, Field(strict=True, ge=1, le=3)] = 1
    """How many enforcement points fail at once."""


type Guarantee = Annotated[Isolated | NoInternetPath | OnlyVia | Exactly | Survives, Field(discriminator="kind")]

COMPUTED_SETS: Mapping[str, str] = {
    "internet_facing": "hosts that an untrusted zone can open a connection to, or that can open one to an untrusted zone",
    "my_number_stores": "hosts that keep an asset with specific personal information (特定個人情報)",
    "managed_hosts": "hosts with managed: ansible",
}
"""Sets that are computed from the policy, never declared; usable wherever a set of hosts is named."""


class Policy(Closed):
    """A whole policy folder, every reference checked."""

    enclave: Enclave
    zones: Mapping[Identifier, Zone]
    hosts: Mapping[Identifier, Host]
    groups: Mapping[Identifier, Group] = {}
    services: Mapping[Identifier, Service]
    flows: Mapping[SentenceIdentifier, Flow]
    assets: Mapping[SentenceIdentifier, Asset] = {}
    guarantees: Mapping[SentenceIdentifier, Guarantee] = {}

    def zone_of(self, host: str) -> str:
        """Zone of a host that is not a gateway (a gateway stands in several)."""
        return next(iter(self.hosts[host].interfaces))

    def gateways(self) -> tuple[Host, ...]:
        """Every gateway, in the order the policy lists them."""
        return tuple(host for host in self.hosts.values() if host.kind == "gateway")
