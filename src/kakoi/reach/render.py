"""nft's JSON of a rule turned back into nft's text, for people: what a witness or an explanation quotes."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def render_rule(statements: Sequence[Mapping[str, Any]], comment: str = "") -> str:
    """The statements of one rule as a line of nft, with its comment."""
    words = [render_statement(statement) for statement in statements]
    if comment:
        words.append(f'comment "{comment}"')
    return " ".join(word for word in words if word)


def render_statement(statement: Mapping[str, Any]) -> str:
    """One statement, e.g. ``tcp dport 22`` or ``accept``."""
    (kind, body), *_ = statement.items() or [("", None)]
    writer = _STATEMENTS.get(kind)
    return writer(body) if writer is not None else _plain(kind, body)


def render_expression(value: Any) -> str:  # noqa: ANN401 - any JSON
    """One expression, e.g. ``ip saddr`` or ``{ 22, 80-90 }``."""
    if value is True:
        return "exists"
    if value is False:
        return "missing"
    if isinstance(value, (str, int)):
        return str(value)
    if isinstance(value, list):
        return ",".join(render_expression(item) for item in value)
    if not isinstance(value, Mapping) or not value:
        return json.dumps(value)
    (kind, body), *_ = value.items()
    writer = _EXPRESSIONS.get(kind)
    return writer(body) if writer is not None else _plain(kind, body)


def _plain(kind: str, body: Any) -> str:  # noqa: ANN401
    if body is None:
        return kind
    if isinstance(body, (str, int)):
        return f"{kind} {body}"
    return f"{kind} {json.dumps(body, ensure_ascii=False, sort_keys=True)}"


def _match(body: Mapping[str, Any]) -> str:
    operator = body.get("op", "==")
    written = "" if operator in {"==", "in"} else f"{operator} "
    if operator == "==" and "&" in str(body.get("left")):
        written = "== "
    return f"{render_expression(body['left'])} {written}{render_expression(body['right'])}"


def _payload(body: Mapping[str, Any]) -> str:
    if "protocol" in body:
        return f"{body['protocol']} {body['field']}"
    return f"@{body.get('base')},{body.get('offset')},{body.get('len')}"


def _ct(body: Mapping[str, Any]) -> str:
    return " ".join(["ct", *([body["dir"]] if "dir" in body else []), str(body.get("key"))])


def _fib(body: Mapping[str, Any]) -> str:
    flags = body.get("flags", [])
    return f"fib {' . '.join([flags] if isinstance(flags, str) else flags)} {body.get('result')}"


def _option(kind: str) -> Callable[[Any], str]:
    def write(body: Mapping[str, Any]) -> str:
        return " ".join(
            [kind, str(body.get("name", body.get("base"))), *([str(body["field"])] if "field" in body else [])]
        )

    return write


def _set(body: Any) -> str:  # noqa: ANN401
    items = body if isinstance(body, list) else [body]
    return "{ " + ", ".join(_map_item(item) for item in items) + " }"


def _map_item(item: Any) -> str:  # noqa: ANN401
    if isinstance(item, list) and len(item) == 2:  # noqa: PLR2004 - key and data
        data = item[1]
        known = isinstance(data, Mapping) and next(iter(data), "") in _STATEMENTS
        return f"{render_expression(item[0])} : {render_statement(data) if known else render_expression(data)}"
    return render_expression(item)


def _element(body: Mapping[str, Any]) -> str:
    timeout = f" timeout {body['timeout']}s" if "timeout" in body else ""
    return f"{render_expression(body['val'])}{timeout}"


def _binary(operator: str) -> Callable[[Any], str]:
    return lambda body: f"({f' {operator} '.join(render_expression(part) for part in body)})"


def _lookup(word: str) -> Callable[[Any], str]:
    return lambda body: f"{render_expression(body['key'])} {word} {render_expression(body['data'])}"


def _translation(kind: str) -> Callable[[Any], str]:
    def write(body: Mapping[str, Any] | None) -> str:
        body = body or {}
        words = [kind, *([str(body["family"])] if "family" in body else [])]
        if "addr" in body or "port" in body:
            address = render_expression(body["addr"]) if "addr" in body else ""
            port = f":{render_expression(body['port'])}" if "port" in body else ""
            words += ["to", f"{f'[{address}]' if ':' in address and port else address}{port}"]
        flags = body.get("flags", [])
        return " ".join([*words, *([flags] if isinstance(flags, str) else flags)])

    return write


def _reject(body: Mapping[str, Any] | None) -> str:
    if not body:
        return "reject"
    expression = f" {render_expression(body['expr'])}" if "expr" in body else ""
    kind = str(body.get("type", ""))
    return f"reject with {kind}{' type' if expression else ''}{expression}"


def _counter(body: Any) -> str:  # noqa: ANN401
    return f'counter name "{body}"' if isinstance(body, str) else "counter"


def _limit(body: Any) -> str:  # noqa: ANN401
    if isinstance(body, str):
        return f'limit name "{body}"'
    over = "over " if body.get("inv") else ""
    unit = f" {body['rate_unit']}" if "rate_unit" in body else ""
    return f"limit rate {over}{body.get('rate')}{unit}/{body.get('per')}"


def _log(body: Mapping[str, Any] | None) -> str:
    body = body or {}
    return " ".join(
        ["log", *(f'{key} "{value}"' if key == "prefix" else f"{key} {value}" for key, value in body.items())]
    )


_EXPRESSIONS: dict[str, Callable[[Any], str]] = {
    "payload": _payload,
    "meta": lambda body: (
        f"{'' if str(body.get('key')) in {'iifname', 'oifname', 'iif', 'oif'} else 'meta '}{body.get('key')}"
    ),
    "ct": _ct,
    "fib": _fib,
    "rt": lambda body: f"rt {body.get('key')}",
    "socket": lambda body: f"socket {body.get('key')}",
    "osf": lambda body: f"osf {body.get('key')}",
    "exthdr": _option("exthdr"),
    "tcp option": _option("tcp option"),
    "ip option": _option("ip option"),
    "sctp chunk": _option("sctp chunk"),
    "concat": lambda body: " . ".join(render_expression(part) for part in body),
    "prefix": lambda body: f"{render_expression(body['addr'])}/{body['len']}",
    "range": lambda body: f"{render_expression(body[0])}-{render_expression(body[1])}",
    "set": _set,
    "elem": _element,
    "map": _lookup("map"),
    **{operator: _binary(operator) for operator in ("&", "|", "^", "<<", ">>")},
}

_STATEMENTS: dict[str, Callable[[Any], str]] = {
    "match": _match,
    "vmap": _lookup("vmap"),
    "mangle": lambda body: f"{render_expression(body['key'])} set {render_expression(body['value'])}",
    "reject": _reject,
    "counter": _counter,
    "limit": _limit,
    "log": _log,
    "jump": lambda body: f"jump {body.get('target')}",
    "goto": lambda body: f"goto {body.get('target')}",
    **{kind: (lambda _, kind=kind: kind) for kind in ("accept", "drop", "continue", "return", "notrack")},  # type: ignore[misc]
    **{kind: _translation(kind) for kind in ("dnat", "snat", "masquerade", "redirect")},
    "set": lambda body: f"{body.get('op')} {body.get('set')} {{ {render_expression(body.get('elem'))} }}",
    "xt": lambda body: f"xt {(body or {}).get('type', '')} {(body or {}).get('name', '')}".strip(),
}
