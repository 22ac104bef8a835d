"""Mistakes that people make in a policy: each one small edit of a sound policy, and words that the report must say.

The whole answer to each (place, message, remedy) stands in ``tests/golden/errors/<subject>.txt``.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mistake:
    """Edits of files: in each, ``old`` becomes ``new``; an empty ``old`` appends."""

    name: str
    edits: tuple[tuple[str, str, str], ...]
    """File, old, new."""
    says: str
    """Words of the English message of the problem that the edit must cause."""
    warns: bool = False
    """True: the policy stays valid, with a warning."""

    everywhere: bool = False
    """True: every occurrence is edited, not only the first."""

    def make(self, directory: Path) -> None:
        """Make the mistake in a policy folder."""
        for file, old, new in self.edits:
            text = (directory / file).read_text(encoding="utf-8")
            assert not old or old in text, f"{self.name}: {file} has no {old!r} to edit"
            count = -1 if self.everywhere else 1
            (directory / file).write_text(text.replace(old, new, count) if old else text + new, encoding="utf-8")


def mistake(
    name: str, file: str, old: str, new: str, says: str, *, warns: bool = False, everywhere: bool = False
) -> Mistake:
    """A mistake in one of the seven files."""
    return Mistake(name, ((f"{file}.yml", old, new),), says, warns, everywhere)


_FLOW = """
  extra:
    from: {}
    to: {}
    services: [{}]
    purpose: 追加の通信
    approver: 情報政策課長
    approved: 2026-10-01
    review_by: 2027-09-30
"""


def flow(name: str, source: str, target: str, says: str, service: str = "https", *, warns: bool = False) -> Mistake:
    """A mistake that is one more flow."""
    return mistake(name, "flows", "", _FLOW.format(source, target, service), says, warns=warns)


MISTAKES: dict[str, tuple[Mistake, ...]] = {
    "yaml": (
        mistake(
            "duplicate_key",
            "zones",
            "    trust: exposed\n",
            "    trust: exposed\n    trust: internal\n",
            "written twice",
        ),
        mistake("duplicate_identifier", "hosts", "  mail_relay:\n", "  public_web:\n", "first stands at line"),
        mistake(
            "duplicate_quoted_key",
            "zones",
            "    trust: exposed\n",
            '    trust: exposed\n    "trust": internal\n',
            "written twice",
        ),
        mistake("anchor", "zones", "networks: [10.20.0.0/24", "networks: &lgwan [10.20.0.0/24", "anchor &lgwan"),
        mistake("alias", "hosts", "members: [employee_terminal, handler_terminal]", "members: *all", "alias *all"),
        mistake(
            "anchor_loop",
            "hosts",
            "members: [employee_terminal, handler_terminal]",
            "members: &loop [*loop]",
            "alias *loop",
        ),
        mistake(
            "merge_key",
            "flows",
            "    from: admin_station\n",
            "    <<: *common\n    from: admin_station\n",
            "merge keys",
        ),
        mistake("tag", "services", "tcp: [22]", "tcp: !!python/object:os.system [22]", "tag"),
        mistake("directive", "services", "# Named", "%YAML 1.1\n---\n# Named", "directives"),
        mistake("second_document", "flows", "  log_transfer:\n", "---\n  log_transfer:\n", "second document"),
        mistake(
            "tab",
            "hosts",
            "    kind: gateway\n    interfaces:\n      internet",
            "\tkind: gateway\n    interfaces:\n      internet",
            "a tab",
        ),
        mistake("wrong_indentation", "zones", "    layer: outside\n", "   layer: outside\n", "indentation"),
        mistake("colon_in_text", "flows", "purpose: ログの集約", "purpose: ログの集約: 全ホスト", "second ': '"),
        mistake("open_quote", "guarantees", "    why: 個人番号", '    why: "個人番号', "inside a quoted text"),
        mistake("open_bracket", "zones", '"fd6b:616b:6f69:20::/64"]', '"fd6b:616b:6f69:20::/64"', "opened with ["),
        mistake("open_brace", "services", "tcp: [80]}", "tcp: [80]", "opened with {"),
        mistake("at_sign", "zones", "name: LGWAN接続系", "name: @LGWAN", "start of a value"),
        mistake("unknown_escape", "zones", "name: LGWAN接続系", 'name: "LGWAN\\q"', "escape"),
        mistake("key_without_colon", "enclave", "model: beta_prime\n", "model beta_prime\n", "without a colon"),
        mistake("number_as_key", "services", "  ssh:", "  22:", "is not text but a number"),
        mistake("boolean_as_key", "services", "  ssh:", "  true:", "is not text but a boolean"),
        mistake("list_as_key", "services", "  ssh:", "  ? [ssh]\n  :", "must be text"),
        mistake("no_value", "zones", "    default_route: edge_gateway\n  dmz", "    default_route:\n  dmz", "no value"),
        mistake("null", "flows", "approver: CISO補佐官", "approver: ~", "no value"),
        mistake("invisible_character", "flows", "purpose: ログの集約", "purpose: ログ\u202eの集約", "U+202E"),
        mistake(
            "too_deep",
            "hosts",
            "members: [employee_terminal, handler_terminal]",
            "members: " + "[" * 30 + "]" * 30,
            "nested more than 20",
        ),
    ),
    "form": (
        mistake(
            "unknown_key", "zones", "    layer: lgwan_connected", "    layr: lgwan_connected", "unknown key 'layr'"
        ),
        mistake(
            "unknown_key_in_flow_style",
            "services",
            "ssh: {name: 遠隔操作（SSH）, tcp",
            "ssh: {name: 遠隔操作（SSH）, tpc",
            "unknown key 'tpc'",
        ),
        mistake(
            "python_name_of_a_key",
            "flows",
            "    from: admin_station",
            "    from_: admin_station",
            "unknown key 'from_'",
        ),
        mistake("unknown_top_level_key", "zones", "zones:\n", "zone: {}\nzones:\n", "no key 'zone'"),
        mistake("section_in_the_wrong_file", "services", "services:\n", "groups: {}\nservices:\n", "no key 'groups'"),
        mistake("section_missing", "services", "services:\n", "service:\n", "the key 'services' is missing"),
        mistake("identifier_as_field", "zones", "  dmz:\n", "  dmz:\n    id: dmz\n", "'id' is not written"),
        mistake("missing_key", "flows", "    approver: CISO補佐官\n", "", "the key 'approver' is missing"),
        mistake("missing_purpose", "flows", "    purpose: ログの集約\n", "", "the key 'purpose' is missing"),
        mistake("missing_layer", "zones", "    layer: outside\n", "", "the key 'layer' is missing"),
        mistake("wrong_option", "zones", "trust: exposed", "trust: expose", "not a possible value of 'trust'"),
        mistake(
            "number_for_option",
            "assets",
            'confidentiality: "1"',
            "confidentiality: 1",
            "not a possible value of 'confidentiality'",
        ),
        mistake("wrong_model", "enclave", "model: beta_prime", "model: beta-prime", "not a possible value of 'model'"),
        mistake("wrong_guarantee_kind", "guarantees", "kind: exactly", "kind: exact", "no guarantee of kind 'exact'"),
        mistake("guarantee_without_kind", "guarantees", "    kind: exactly\n", "", "the key 'kind' is missing"),
        mistake("unknown_key_in_guarantee", "guarantees", "    failures: 1", "    failure: 1", "unknown key 'failure'"),
        mistake("missing_key_in_guarantee", "guarantees", "    via: access_proxy\n", "", "the key 'via' is missing"),
        mistake("capital_identifier", "zones", "  lgwan:\n", "  LGWAN:\n", "'LGWAN' is not an identifier"),
        mistake("japanese_identifier", "zones", "  lgwan:\n", "  庁内:\n", "'庁内' is not an identifier"),
        mistake("long_identifier", "hosts", "  web_proxy:\n", "  " + "a" * 40 + ":\n", "is not an identifier"),
        mistake("entry_is_text", "services", "{name: 遠隔操作（SSH）, tcp: [22]}", "22", "must be a mapping"),
        mistake("section_is_a_list", "services", "services:\n", "services: []\nx:\n", "must be a mapping"),
        mistake("number_for_text", "zones", "name: LGWAN接続系", "name: 123", "must be text, not a number"),
        mistake("date_for_text", "enclave", "version: 令和5年3月版", "version: 2023-03-28", "must be text, not a date"),
        mistake("list_for_text", "zones", "name: LGWAN接続系", "name: [LGWAN接続系]", "must be text, not a list"),
        mistake(
            "text_for_list",
            "zones",
            'networks: [10.20.0.0/24, "fd6b:616b:6f69:20::/64"]',
            "networks: 10.20.0.0/24",
            "must be a list",
        ),
        mistake("empty_text", "flows", "purpose: ログの集約", 'purpose: ""', "'purpose' is empty"),
        mistake("blank_text", "flows", "purpose: ログの集約", 'purpose: "  "', "'purpose' is empty"),
        mistake("line_break_in_text", "flows", "purpose: ログの集約", 'purpose: "ログの\\n集約"', "line break"),
        mistake("long_text", "flows", "purpose: ログの集約", "purpose: " + "長" * 500, "has 500 characters"),
        mistake(
            "empty_list", "hosts", "members: [allowance_store, year_end_store]", "members: []", "'members' is empty"
        ),
        mistake("yes_for_true", "enclave", "fictional: true", "fictional: yes", "must be true or false"),
        mistake("bad_address", "hosts", "[10.10.0.21,", "[10.10.0.321,", "'10.10.0.321' is not an IP address"),
        mistake(
            "address_with_prefix", "hosts", "[10.10.0.21,", "[10.10.0.21/24,", "'10.10.0.21/24' is not an IP address"
        ),
        mistake("number_for_address", "hosts", "[10.10.0.21,", "[10,", "'10' is not an IP address"),
        mistake(
            "address_with_interface", "hosts", '"fd6b:616b:6f69:10::21"', '"fe80::21%eth0"', "not a plain IPv6 address"
        ),
        mistake("bad_network", "zones", "10.20.0.0/24", "10.20.0.0/240", "impossible prefix length"),
        mistake("network_without_prefix", "zones", "10.20.0.0/24", "10.20.0.0", "no prefix length"),
        mistake("network_with_host_bits", "zones", "10.20.0.0/24", "10.20.0.1/24", "an address inside a network"),
        mistake("network_of_everything", "zones", "203.0.113.0/24", "0.0.0.0/0", "every address there is"),
        mistake("network_is_text", "zones", "10.20.0.0/24", "LGWAN", "'LGWAN' is not a network"),
        mistake("day_without_dashes", "flows", "approved: 2026-10-01", "approved: 20261001", "is not a date"),
        mistake("day_with_slashes", "flows", "approved: 2026-10-01", "approved: 2026/10/01", "is not a date"),
        mistake(
            "day_of_no_calendar", "flows", "approved: 2026-10-01", "approved: 2026-02-30", "not a day of the calendar"
        ),
        mistake("port_too_high", "services", "tcp: [22]", "tcp: [70000]", "'70000' is not a port"),
        mistake("port_zero", "services", "tcp: [22]", "tcp: [0]", "'0' is not a port"),
        mistake("octal_port", "services", "tcp: [22]", "tcp: [0777]", "'0777' is not a port"),
        mistake("boolean_port", "services", "tcp: [22]", "tcp: [true]", "is not a port"),
        mistake("range_backwards", "services", "tcp: [22]", 'tcp: ["200-100"]', "starts at 200 but ends at 100"),
        mistake(
            "icmp_type", "services", "icmp: [echo-request]", "icmp: [echo_request]", "not a possible value of 'icmp'"
        ),
        mistake("domain", "enclave", "domain: kakuu.example", "domain: 架空県.example", "is not a domain name"),
        mistake(
            "account", "enclave", "automation_user: automation", "automation_user: 自動化", "is not an account name"
        ),
        mistake(
            "device_name",
            "hosts",
            "  web_proxy:\n",
            "  web_proxy:\n    devices: {office: this_name_is_too_long}\n",
            "is not a device name",
        ),
        mistake("failures", "guarantees", "failures: 1", "failures: 9", "outside what 'failures' can be"),
        mistake("failures_as_text", "guarantees", "failures: 1", 'failures: "1"', "must be a whole number"),
    ),
    "references": (
        mistake("unknown_reference", "flows", "    to: managed_hosts", "    to: managed_host", "'managed_host'"),
        mistake("flow_to_nowhere", "flows", "    to: log_server", "    to: 10.0.0.1", "is not an identifier"),
        mistake("service_as_an_end", "flows", "    to: log_server", "    to: ssh", "'ssh' is a service, not a"),
        mistake("unknown_service", "flows", "services: [ldaps]", "services: [ldap]", "no service 'ldap'"),
        mistake("unknown_zone", "hosts", "      lgwan: [10.20.0.20,", "      lgwn: [10.20.0.20,", "no zone 'lgwn'"),
        mistake(
            "unknown_default_route",
            "zones",
            "default_route: edge_gateway",
            "default_route: edge_gatewy",
            "no host 'edge_gatewy'",
        ),
        mistake(
            "unknown_store",
            "assets",
            "stores: [allowance_store]",
            "stores: [allowance_stor]",
            "no host 'allowance_stor'",
        ),
        mistake(
            "group_as_a_store",
            "assets",
            "stores: [allowance_store]",
            "stores: [enclave_stores]",
            "is a group, not a host",
        ),
        mistake(
            "unknown_terminal",
            "assets",
            "terminals: [handler_terminal]",
            "terminals: [handler_terminl]",
            "no host 'handler_terminl'",
        ),
        mistake(
            "unknown_task", "assets", "tasks: [child_allowance]", "tasks: [child_alowance]", "no task 'child_alowance'"
        ),
        mistake(
            "unknown_controller",
            "enclave",
            "controller: admin_station",
            "controller: admin_staton",
            "no host 'admin_staton'",
        ),
        mistake(
            "unknown_mirror", "enclave", "package_mirror: package_mirror", "package_mirror: mirror", "no host 'mirror'"
        ),
        mistake(
            "unknown_guarantee",
            "guarantees",
            "guarantee: enclave_stores_unreachable_from_internet_facing_hosts",
            "guarantee: nothing",
            "no guarantee 'nothing'",
        ),
        mistake("unknown_in_guarantee", "guarantees", "via: access_proxy", "via: acces_proxy", "'acces_proxy'"),
        mistake(
            "device_of_another_zone",
            "hosts",
            "  web_proxy:\n",
            "  web_proxy:\n    devices: {dmz: eth0}\n",
            "has no interface in 'dmz'",
        ),
        mistake("host_named_like_a_zone", "hosts", "  groupware:\n", "  lgwan:\n", "has the name of a zone"),
        mistake(
            "group_named_like_a_set",
            "hosts",
            "  staff_terminals:\n",
            "  managed_hosts:\n",
            "has the name of a computed set",
        ),
        mistake(
            "asset_named_like_a_host", "assets", "  resident_records:\n", "  public_web:\n", "has the name of a host"
        ),
        mistake("reserved_zone_name", "zones", "  lgwan:\n", "  all:\n", "the name 'all' is reserved"),
        mistake(
            "group_cycle",
            "hosts",
            "members: [employee_terminal, handler_terminal]",
            "members: [staff_terminals, employee_terminal]",
            "contains itself",
        ),
        mistake(
            "longer_group_cycle",
            "hosts",
            "    members: [employee_terminal, handler_terminal]",
            "    members: [more]\n  more:\n    name: 輪\n    members: [staff_terminals]",
            "contains itself (more, staff_terminals)",
        ),
        mistake("circular_flow", "flows", "    to: managed_hosts", "    to: internet_facing", "follows from the flows"),
        Mistake(
            "flow_to_an_empty_set",
            (
                ("assets.yml", "specific_personal_information", "official"),
                ("flows.yml", "    to: directory\n", "    to: my_number_stores\n"),
            ),
            "my_number_stores: no zone and no host",
            everywhere=True,
        ),
        mistake(
            "survives_itself",
            "guarantees",
            "guarantee: enclave_stores_unreachable_from_internet_facing_hosts",
            "guarantee: enclave_stores_survive_one_failure",
            "is itself of kind 'survives'",
        ),
    ),
    "addressing": (
        mistake("overlapping_networks", "zones", "10.20.0.0/24", "10.10.0.0/16", "overlaps 10.10.0.0/16"),
        mistake("overlapping_ipv6", "zones", '"fd6b:616b:6f69:20::/64"', '"fd6b:616b:6f69:10::/60"', "overlaps"),
        mistake("loopback_network", "zones", "10.20.0.0/24", "127.0.0.0/8", "not a network of hosts"),
        mistake(
            "address_outside_its_zone",
            "hosts",
            "[10.10.0.21,",
            "[10.20.0.21,",
            "is not in the zone 'office' but in 'lgwan'",
        ),
        mistake("network_address", "hosts", "[10.10.0.21,", "[10.10.0.0,", "network address"),
        mistake("broadcast_address", "hosts", "[10.10.0.21,", "[10.10.0.255,", "broadcast address"),
        mistake(
            "anycast_address", "hosts", '"fd6b:616b:6f69:10::21"', '"fd6b:616b:6f69:10::"', "subnet-router anycast"
        ),
        mistake("duplicate_address", "hosts", "[10.10.0.21,", "[10.10.0.20,", "already an address of 'groupware'"),
        mistake(
            "duplicate_ipv6_address",
            "hosts",
            '"fd6b:616b:6f69:10::21"',
            '"fd6b:616b:6f69:10:0::20"',
            "already an address of 'groupware'",
        ),
        mistake(
            "no_ipv6_address", "hosts", '[10.10.0.21, "fd6b:616b:6f69:10::21"]', "[10.10.0.21]", "has no IPv6 address"
        ),
        mistake(
            "ipv6_only_gap",
            "hosts",
            '[10.10.0.21, "fd6b:616b:6f69:10::21"]',
            '["fd6b:616b:6f69:10::21"]',
            "has no IPv4 address",
        ),
        mistake(
            "family_without_network",
            "zones",
            '[10.20.0.0/24, "fd6b:616b:6f69:20::/64"]',
            "[10.20.0.0/24]",
            "has no IPv6 network",
        ),
        mistake(
            "network_without_family",
            "zones",
            "    networks: [10.20.0.0/24,",
            "    families: [ipv4]\n    networks: [10.20.0.0/24,",
            "does not use IPv6",
        ),
    ),
    "topology": (
        mistake(
            "server_in_two_zones",
            "hosts",
            '      dmz: [192.0.2.10, "2001:db8:0:1::10"]',
            '      dmz: [192.0.2.10, "2001:db8:0:1::10"]\n      lgwan: [10.20.0.99, "fd6b:616b:6f69:20::99"]',
            "stands in 2 zones",
        ),
        mistake(
            "gateway_with_one_leg",
            "hosts",
            "groups:\n",
            '  lonely_gateway:\n    name: 孤立ゲートウェイ\n    kind: gateway\n    interfaces:\n      office: [10.10.0.9, "fd6b:616b:6f69:10::9"]\ngroups:\n',
            "in one zone only",
            warns=True,
        ),
        mistake(
            "zone_without_gateway",
            "zones",
            "  lgwan:\n",
            '  island:\n    name: 離れ島\n    layer: lgwan_connected\n    trust: internal\n    networks: [10.99.0.0/24, "fd6b:616b:6f69:99::/64"]\n  lgwan:\n',
            "no gateway stands in",
        ),
        mistake(
            "default_route_is_a_server",
            "zones",
            "default_route: edge_gateway",
            "default_route: web_proxy",
            "is a server, not a gateway",
        ),
        mistake(
            "default_route_elsewhere",
            "zones",
            "    default_route: edge_gateway\n  lgwan",
            "    default_route: enclave_gateway\n  lgwan",
            "does not stand in 'office'",
        ),
        mistake(
            "upstream_of_a_trusted_zone",
            "zones",
            "    default_route: edge_gateway\n  lgwan",
            "    default_route: edge_gateway\n    upstream: [10.10.0.254]\n  lgwan",
            "is not untrusted",
        ),
        mistake(
            "upstream_elsewhere",
            "zones",
            "    default_route: edge_gateway\n  dmz",
            "    default_route: edge_gateway\n    upstream: [198.51.100.1]\n  dmz",
            "in none of the zone's networks",
        ),
        mistake(
            "upstream_is_a_host",
            "zones",
            "    default_route: edge_gateway\n  dmz",
            "    default_route: edge_gateway\n    upstream: [203.0.113.20]\n  dmz",
            "is the address of 'internet_server'",
        ),
        mistake(
            "two_upstreams",
            "zones",
            "    default_route: edge_gateway\n  dmz",
            "    default_route: edge_gateway\n    upstream: [203.0.113.253, 203.0.113.254]\n  dmz",
            "second router of the same family",
        ),
        mistake(
            "enclave_with_default_route",
            "zones",
            "    name: 囲い・データ\n",
            "    name: 囲い・データ\n    default_route: enclave_gateway\n",
            "no route to the internet",
        ),
        mistake(
            "no_outside",
            "zones",
            "    layer: outside\n    trust: untrusted\n",
            "    layer: internet_connected\n    trust: internal\n",
            "no zone is untrusted",
        ),
        mistake(
            "trusted_outside",
            "zones",
            "    trust: untrusted\n",
            "    trust: exposed\n",
            "does not go with 'layer: outside'",
        ),
        mistake(
            "outside_without_a_way", "zones", "    default_route: edge_gateway\n  dmz", "  dmz", "has no default_route"
        ),
        mistake(
            "gateway_past_the_others",
            "hosts",
            "      enclave_access: [10.40.1.2,",
            '      internet: [203.0.113.3, "2001:db8:0:ff::3"]\n      enclave_access: [10.40.1.2,',
            "directly to the internet",
        ),
        mistake(
            "managed_outside",
            "hosts",
            "    managed: external\n    interfaces:\n      internet",
            "    interfaces:\n      internet",
            "stands in an untrusted zone but is managed",
        ),
        mistake(
            "device_clash",
            "hosts",
            "  edge_gateway:\n",
            "  edge_gateway:\n    devices: {dmz: eth0, office: eth0}\n",
            "are both called 'eth0'",
        ),
        Mistake(
            "zones_with_a_long_common_beginning",
            (
                ("zones.yml", "enclave_app:", "enclave_applications_one:"),
                ("zones.yml", "enclave_data:", "enclave_applications_two:"),
                ("hosts.yml", "enclave_app:", "enclave_applications_one:"),
                ("hosts.yml", "enclave_data:", "enclave_applications_two:"),
                ("guarantees.yml", "enclave_app, enclave_data", "enclave_applications_one, enclave_applications_two"),
            ),
            "are both called 'enclave_applica'",
            everywhere=True,
        ),
        mistake(
            "reserved_device",
            "hosts",
            "  edge_gateway:\n",
            "  edge_gateway:\n    devices: {dmz: lo}\n",
            "device name 'lo' is reserved",
        ),
        mistake(
            "no_common_family",
            "hosts",
            '      enclave_access: [10.40.1.1, "fd6b:616b:6f69:41::1"]',
            "      enclave_access: [10.40.1.1]",
            "by IPv6",
        ),
        mistake(
            "part_of_the_network",
            "hosts",
            '      enclave_access: [10.40.1.1, "fd6b:616b:6f69:41::1"]\n',
            "",
            "no way leads from",
        ),
    ),
    "services": (
        mistake(
            "service_without_port",
            "services",
            "{name: 遠隔操作（SSH）, tcp: [22]}",
            "{name: 遠隔操作（SSH）}",
            "neither a port nor an ICMP type",
        ),
        mistake("overlapping_ranges", "services", "tcp: [80]", 'tcp: [80, "70-90"]', "overlaps"),
        mistake("same_port_twice", "services", "tcp: [80]", "tcp: [80, 80]", "overlaps"),
        mistake(
            "ping_in_one_family",
            "services",
            "icmp: [echo-request], icmpv6: [echo-request]",
            "icmp: [echo-request]",
            "has icmp but not icmpv6",
            warns=True,
        ),
        mistake("wide_range", "services", "tcp: [80]", 'tcp: [80, "10000-20000"]', "is 10001 ports", warns=True),
    ),
    "flows": (
        mistake("past_review", "flows", "review_by: 2027-09-30", "review_by: 2026-11-20", "3 days ago"),
        mistake(
            "approved_in_the_future", "flows", "approved: 2026-10-01", "approved: 2026-12-01", "lies in the future"
        ),
        mistake(
            "review_before_approval",
            "flows",
            "approved: 2026-10-01\n    review_by: 2027-09-30",
            "approved: 2026-10-01\n    review_by: 2026-01-10",
            "does not come after the approval",
        ),
        mistake(
            "review_in_ten_years",
            "flows",
            "review_by: 2027-09-30",
            "review_by: 2036-09-30",
            "more than 3 years",
            warns=True,
        ),
        flow("flow_to_itself", "groupware", "groupware", "to itself"),
        flow("covered_flow", "groupware", "log_server", "already allowed by 'log_transfer'", "log_relp", warns=True),
        flow("duplicate_flow", "internet", "mail_relay", "already allowed by 'incoming_mail'", "smtp", warns=True),
        flow("internet_into_the_office", "internet", "groupware", "not in an exposed zone"),
        flow("internet_to_a_gateway", "internet_client", "edge_gateway", "not in an exposed zone", "ssh"),
        flow("internet_into_the_enclave", "internet", "access_proxy", "connects the enclave with an untrusted zone"),
        flow("enclave_to_the_internet", "enclave_app", "internet", "connects the enclave with an untrusted zone"),
        flow("lgwan_to_the_internet", "screen_broker", "internet", "connects LGWAN接続系 with an untrusted zone"),
        flow("into_mynumber_use", "office", "resident_registry", "connects マイナンバー利用事務系 with"),
        flow("out_of_mynumber_use", "mynumber_use", "allowance_app", "connects マイナンバー利用事務系 with"),
        flow("lgwan_without_transfer", "groupware", "personnel_payroll", "does not say by what transfer", warns=True),
        flow(
            "enclave_into_lgwan", "allowance_app", "personnel_payroll", "from the enclave into LGWAN接続系", warns=True
        ),
        mistake(
            "transfer_elsewhere",
            "flows",
            "    purpose: ログの集約",
            "    transfer: sanitised\n    purpose: ログの集約",
            "does not lead into LGWAN接続系",
            warns=True,
        ),
        flow("public_server_to_a_store", "web_proxy", "allowance_store", "breaks the guarantee", "postgresql"),
    ),
    "administration": (
        mistake(
            "controller_cut_off",
            "flows",
            "    to: managed_hosts\n    services: [ssh, ping]",
            "    to: [enclave_access, enclave_app, enclave_data, enclave_ops, core_gateway, enclave_gateway]\n    services: [ssh, ping]",
            "cut the controller 'admin_station' off from",
        ),
        mistake("controller_without_ssh", "flows", "services: [ssh, ping]", "services: [ping]", "no flow allows ssh"),
        mistake(
            "controller_without_a_way",
            "hosts",
            '      enclave_ops: [10.40.4.1, "fd6b:616b:6f69:44::1"]',
            "      enclave_ops: [10.40.4.1]",
            "no way by IPv6",
        ),
        mistake(
            "mirror_not_reached",
            "flows",
            "    from: managed_hosts\n    to: package_mirror",
            "    from: enclave_app\n    to: package_mirror",
            "reach 'package_mirror' for packages",
            warns=True,
        ),
        mistake(
            "clock_not_reached",
            "flows",
            "services: [ntp]",
            "services: [log_relp]",
            "for the time (udp 123)",
            warns=True,
        ),
        mistake(
            "controller_outside",
            "enclave",
            "controller: admin_station",
            "controller: internet_client",
            "stands in an untrusted zone",
        ),
        mistake("root", "enclave", "automation_user: automation", "automation_user: root", "account is 'root'"),
    ),
    "assets": (
        mistake(
            "residents_in_the_enclave",
            "assets",
            "subjects: [own_employees, dependants_of_employees]",
            "subjects: [own_employees, dependants_of_employees, residents]",
            "residents' data would be kept on 'allowance_store' in the enclave",
        ),
        mistake(
            "residents_in_the_office",
            "assets",
            "stores: [resident_registry]",
            "stores: [groupware]",
            "'groupware' in インターネット接続系",
        ),
        mistake("model_beta", "enclave", "model: beta_prime", "model: beta", "the body's model is β"),
        mistake(
            "dependants_undecided",
            "assets",
            "    dependants_decision: 総務省の回答は自団体の職員について述べ、扶養親族を明示していない。扶養親族分も同じ保護のもとで扱うと CISO が決定（2026-10-01）\n",
            "",
            "does not state whether dependants' numbers",
            warns=True,
        ),
        mistake(
            "store_is_a_terminal",
            "assets",
            "stores: [allowance_store]",
            "stores: [employee_terminal]",
            "is a terminal, not a server",
        ),
        mistake(
            "handler_at_a_server",
            "assets",
            "terminals: [handler_terminal]",
            "terminals: [groupware]",
            "is a server, not a terminal",
        ),
        mistake("no_subjects", "assets", "    subjects: [residents]\n", "", "without 'subjects'"),
        mistake("no_tasks", "assets", "    tasks: [child_allowance]\n", "", "without 'tasks'"),
        mistake(
            "no_handlers",
            "assets",
            "    stores: [allowance_store]\n    handlers:\n      - {title: 人事課 給与係, terminals: [handler_terminal]}\n",
            "    stores: [allowance_store]\n",
            "without 'handlers'",
        ),
        mistake(
            "store_faces_the_internet",
            "assets",
            "stores: [allowance_store]",
            "stores: [web_proxy]",
            "faces the internet by the flow 'outgoing_web'",
        ),
        mistake(
            "store_in_the_dmz",
            "hosts",
            '      enclave_data: [10.40.3.10, "fd6b:616b:6f69:43::10"]',
            '      dmz: [192.0.2.30, "2001:db8:0:1::30"]',
            "stands in an exposed zone",
        ),
        mistake(
            "numbers_for_everybody",
            "assets",
            "confidentiality: 3A",
            'confidentiality: "1"',
            "is classed '1'",
            warns=True,
        ),
    ),
    "guarantees": (
        mistake(
            "empty_set",
            "assets",
            "specific_personal_information",
            "official",
            "my_number_stores: it is empty",
            everywhere=True,
        ),
        mistake(
            "overlapping_ends",
            "guarantees",
            "    from: office\n    to: enclave_stores\n    via",
            "    from: [office, allowance_store]\n    to: enclave_stores\n    via",
            "is in 'from' and in 'to'",
        ),
        mistake(
            "guard_is_the_target",
            "guarantees",
            "via: access_proxy",
            "via: allowance_store",
            "is itself in 'from' or 'to'",
        ),
        mistake(
            "internet_without_internet",
            "guarantees",
            "    of: [enclave_access,",
            "    of: [internet, enclave_access,",
            "is in an untrusted zone itself",
        ),
        mistake(
            "store_without_guarantee",
            "guarantees",
            "    to: my_number_stores\n    by",
            "    to: enclave_stores\n    by",
            "no guarantee isolates the My Number store 'resident_registry'",
            warns=True,
            everywhere=True,
        ),
    ),
}
