"""JSON schemas of option models, as `nasforge.spec.schema` puts them together."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import PydanticSerializationError, core_schema

from nasforge.components import Family, Operation
from nasforge.spec.choices import Choose
from nasforge.spec.docstrings import fields_of, summary_of
from nasforge.spec.expectation import written
from nasforge.spec.lets import NAME
from nasforge.spec.resolved import to_plain

Schema = dict[str, Any]

DEFS = "#/$defs/"

USE: Schema = {
    "type": "object",
    "description": "A choice that has its name under `let`; all places that use it share one decision.",
    "properties": {"use": {"type": "string"}},
    "required": ["use"],
    "additionalProperties": False,
}
LET: Schema = {
    "type": ["object", "null"],
    "description": "Choices by name, which {use: NAME} takes.",
    "propertyNames": {"pattern": f"^{NAME.pattern}$"},
    "additionalProperties": {
        "type": "object",
        "properties": {"choose": {"const": 1}, "from": {"type": "array", "minItems": 1}},
        "required": ["choose", "from"],
        "additionalProperties": False,
    },
}


class _Generator(GenerateJsonSchema):
    """Schemas in the user's words: keys as written, descriptions from docstrings, operations by reference."""

    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:
        """The object, with what its docstring says."""
        model = schema["cls"]
        made = super().model_schema(schema)
        made.pop("title", None)
        made["description"] = summary_of(model)
        described = fields_of(model)
        for name, field in model.model_fields.items():
            key = written(name, field)
            if key in made.get("properties", {}) and name in described:
                made["properties"][key] = {**made["properties"][key], "description": described[name]}
            if isinstance(made.get("properties", {}).get(key, {}).get("default"), dict):
                # The keys of a block have their own defaults; an editor would insert this one whole.
                del made["properties"][key]["default"]
        if issubclass(model, Choose):
            del made["properties"]["use"]
            made["properties"]["from"]["uniqueItems"] = True
            # Not anyOf: editors would say no more than that none fits.
            return {"if": {"required": ["use"]}, "then": copy.deepcopy(USE), "else": made}
        return made

    def encode_default(self, dft: Any) -> Any:
        """A default as a user would write it."""
        try:
            return to_plain(dft)
        except TypeError as error:
            raise PydanticSerializationError(str(error)) from error

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Titles would only repeat the keys."""
        return False

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Schema:
        """Anything is allowed where a plugin's type has no JSON form; loading checks it."""
        return {}

    def emit_warning(self, kind: Any, detail: str) -> None:
        """Nothing that a user of the schema could act on."""


def schemas_of(models: Iterable[type[BaseModel]]) -> tuple[dict[type[BaseModel], Schema], dict[str, Schema]]:
    """The schema of each model, and the definitions that they refer to below ``#/$defs/``."""
    listed = list(dict.fromkeys(models))
    if not listed:
        return {}, {}
    made, shared = models_json_schema(
        [(model, "validation") for model in listed], by_alias=True, schema_generator=_Generator
    )
    definitions: dict[str, Schema] = dict(shared.get("$defs", {}))
    found = {
        model: copy.deepcopy(definitions[made[model, "validation"]["$ref"].removeprefix(DEFS)]) for model in listed
    }
    return found, definitions


def operation_schema(
    operations: Mapping[str, Operation], schemas: Mapping[type[BaseModel], Schema], family: Family
) -> Schema:
    """``name`` or ``{name: {parameter: value}}`` for every operation of a family.

    Args:
        operations: all of them.
        schemas: those of their config models.
        family: where the operation stands.
    """
    usable = {name: each for name, each in sorted(operations.items()) if family in each.families}
    parameters: dict[str, Schema] = {}
    bare: list[str] = []
    for name, operation in usable.items():
        block = {**copy.deepcopy(schemas[operation.config]), "description": operation.summary}
        for field in operation.config.given:
            del block["properties"][written(field, operation.config.model_fields[field])]
        block["properties"] = {key: _or_chosen(each) for key, each in block.get("properties", {}).items()}
        if not block.get("required"):
            bare.append(name)
            block["type"] = ["object", "null"]
        parameters[name] = block
    spelled_out = {
        "type": "object",
        "properties": parameters,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
    described = "An operation: its name, or {name: {parameter: value}}."
    return {"description": described, "anyOf": [{"enum": bare}, spelled_out]}


def _or_chosen(parameter: Schema) -> Schema:
    """A parameter of an operation, or a choice of several values."""
    about: Schema = {key: parameter[key] for key in ("description", "default") if key in parameter}
    plain = {key: value for key, value in parameter.items() if key not in about}
    choice = {
        "type": "object",
        "properties": {"choose": {"const": 1}, "from": {"type": "array", "items": plain, "minItems": 1}},
        "required": ["choose", "from"],
        "additionalProperties": False,
    }
    return {**about, "anyOf": [plain, choice, copy.deepcopy(USE)]}


def partial(schema: Schema) -> Schema:
    """The schema of what may lie over a value: mappings may lack any key, lists are replaced as a whole."""
    made: Schema = {}
    for key, value in schema.items():
        if key == "required":
            continue
        if key == "$ref":
            made[key] = DEFS + partial_name(value.removeprefix(DEFS))
        elif key == "properties":
            made[key] = {name: partial(each) for name, each in value.items()}
        elif key in ("anyOf", "oneOf", "allOf"):
            made[key] = [partial(each) for each in value]
        elif key in ("then", "else") or (key == "additionalProperties" and isinstance(value, dict)):
            made[key] = partial(value)
        elif key != "default":
            made[key] = value
    return made


def partial_name(name: str) -> str:
    """What the partial version of a definition is called."""
    return f"partial.{name}"
