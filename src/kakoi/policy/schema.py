"""JSON Schema of the policy files, generated from the models, for editors.

One document with a definition for each file; the document itself accepts any of them, so one modeline
serves every file. The schema helps while writing; what is right is decided by ``kakoi check`` alone.
"""

import ast
import inspect
import json
from functools import cache
from typing import Any, Final

from kakoi.policy import model
from kakoi.policy.folder import OPTIONAL_SECTIONS, SECTIONS_OF_FILE

SCHEMA_FILE: Final = "policy.schema.json"
_PORT_RANGE: Final = {
    "description": 'One port or an inclusive range, written 443 or "8000-8100".',
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 65535},
        {"type": "string", "pattern": "^[1-9][0-9]{0,4}( *- *[1-9][0-9]{0,4})?$"},
    ],
}
_IDENTIFIER_LIST: Final = {"type": "array", "items": {"type": "string"}, "minItems": 1}


@cache
def field_descriptions() -> dict[str, dict[str, str]]:
    """Class -> field -> the docstring under it."""
    tree = ast.parse(inspect.getsource(model))
    found: dict[str, dict[str, str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            fields = found.setdefault(node.name, {})
            for field, below in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(below, ast.Expr)
                    and isinstance(below.value, ast.Constant)
                ):
                    fields[field.target.id] = inspect.cleandoc(str(below.value.value)).replace("\n", " ")
    return found


def policy_schema() -> dict[str, Any]:
    """The whole schema document."""
    generated = model.Policy.model_json_schema(by_alias=True)
    definitions: dict[str, Any] = generated["$defs"]
    definitions["PortRange"] = _PORT_RANGE
    for name, definition in definitions.items():
        _tidy(name, definition)
    properties = generated["properties"]
    for file, sections in SECTIONS_OF_FILE.items():
        if not sections:
            definitions[file] = {"$ref": "#/$defs/Enclave"}
            continue
        definitions[file] = {
            "type": "object",
            "additionalProperties": False,
            "properties": {section: properties[section] for section in sections},
            "required": [section for section in sections if section not in OPTIONAL_SECTIONS],
        }
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kakoi policy",
        "description": "Files of a kakoi policy folder; `kakoi check` decides what is valid.",
        "anyOf": [{"$ref": f"#/$defs/{file}"} for file in SECTIONS_OF_FILE],
        "$defs": definitions,
    }
    tidied: dict[str, Any] = _without_titles(schema)
    tidied["title"] = "kakoi policy"
    return tidied


def schema_of_file(file: str) -> dict[str, Any]:
    """Schema of one policy file alone."""
    whole = policy_schema()
    return {
        "$schema": whole["$schema"],
        "title": file,
        "$ref": f"#/$defs/{file}",
        "$defs": {name: part for name, part in whole["$defs"].items() if name == file or not name.endswith(".yml")},
    }


def as_text(schema: dict[str, Any]) -> str:
    """The schema as a file holds it."""
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"


def _tidy(name: str, definition: dict[str, Any]) -> None:
    """Leave out ``id``, which is the key, and put each field's docstring beside it."""
    properties = definition.get("properties", {})
    descriptions = field_descriptions().get("_Guarantee", {}) | field_descriptions().get(name, {})
    if "id" in properties:
        del properties["id"]
        definition["required"] = [key for key in definition.get("required", ()) if key != "id"]
    for key, shape in properties.items():
        described = descriptions.get("from_" if key == "from" else key)
        if described:
            shape["description"] = described
    for key in ("from", "to", "via", "of", "members", "services"):
        shape = properties.get(key)
        if shape is not None and shape.get("type") == "array":
            listed = {k: shape[k] for k in ("items", "minItems", "type") if k in shape} or _IDENTIFIER_LIST
            properties[key] = {
                **({"description": shape["description"]} if "description" in shape else {}),
                "anyOf": [listed["items"], listed],
            }


def _without_titles(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Leave out pydantic's generated titles, which only repeat the keys."""
    if isinstance(value, dict):
        return {
            key: _without_titles(part) for key, part in value.items() if not (key == "title" and isinstance(part, str))
        }
    if isinstance(value, list):
        return [_without_titles(part) for part in value]
    return value
