"""The specification of this service: as it is written, and as a page that a person can read without a script."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import yaml
from flask import Blueprint, Response, render_template
from markupsafe import Markup

from cds_service.web.markdown import as_html

_PAGE_POLICY: Final = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
_SCHEMAS: Final = "#/components/schemas/"
# What a reader wants to know of a value besides its type.
_LIMITS: Final = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minimum": "{} or more",
    "minProperties": "at least {} members",
    "pattern": "as {}",
    "format": "a {}",
}


def specification() -> Path:
    """`openapi.yaml`: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "openapi.yaml"
    return installed if installed.is_file() else package.parent / "openapi.yaml"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value is: its words, and the schema that describes it further, if it has a name."""

    words: str
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """One line in the table of an object."""

    name: str
    kind: Kind
    required: bool
    says: str


@dataclass(frozen=True)
class Document:
    """The specification, with its references resolved where the page needs that."""

    spec: Mapping[str, Any]

    @cached_property
    def operations(self) -> list[tuple[str, str, Mapping[str, Any]]]:
        """Method, path and operation, in the order of the document."""
        return [
            (method, path, operation)
            for path, item in self.spec["paths"].items()
            for method, operation in item.items()
            if method in {"get", "post"}
        ]

    def resolved(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        """What stands at the place that a $ref names."""
        while "$ref" in node:
            found: Any = self.spec
            for step in node["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            node = found
        return node

    def kind(self, schema: Mapping[str, Any]) -> Kind:
        """The type of a schema in words."""
        if (reference := schema.get("$ref", "")).startswith(_SCHEMAS):
            name = reference.removeprefix(_SCHEMAS)
            return Kind(name, name)
        if schema.get("type") == "array":
            items = self.kind(schema.get("items", {}))
            return Kind(f"list of {items.words}", items.schema)
        if "const" in schema:
            return Kind(json.dumps(schema["const"]))
        if "enum" in schema:
            return Kind(" or ".join(json.dumps(value) for value in schema["enum"]))
        choices = [self.kind(one) for one in schema.get("oneOf", ())]
        if choices:
            return Kind(" or ".join(one.words for one in choices), next((o.schema for o in choices if o.schema), None))
        kinds = schema.get("type", "any value")
        return Kind(kinds if isinstance(kinds, str) else " or ".join(kinds))

    def members(self, schema: Mapping[str, Any]) -> Iterator[Member]:
        """The members of an object, those of the schemas that it builds on first."""
        for part in schema.get("allOf", ()):
            if "if" not in part:
                yield from self.members(self.resolved(part))
        required = set(schema.get("required", ()))
        for name, member in schema.get("properties", {}).items():
            if isinstance(member, dict):
                yield Member(name, self.kind(member), name in required, self.says(member))

    def says(self, schema: Mapping[str, Any]) -> str:
        """The description of a value, with its limits."""
        limits = [
            "not empty" if (name[:3], schema[name]) == ("min", 1) else words.format(schema[name])
            for name, words in _LIMITS.items()
            if name in schema
        ]
        told = str(schema.get("description", "")).strip()
        return " ".join(part for part in (told, f"({'; '.join(limits)})" if limits else "") if part)

    def choices(self, schema: Mapping[str, Any]) -> list[Kind]:
        return [self.kind(one) for one in schema.get("oneOf", ())]


def specification_pages() -> Blueprint:
    """GET /openapi.yaml and /docs."""
    text = specification().read_bytes()
    document = cache(lambda: Document(yaml.safe_load(text)))  # it takes a while, and few ever read the page
    pages = Blueprint(
        "specification", __name__, static_folder="static", static_url_path="/docs/static", template_folder="templates"
    )

    @pages.get("/openapi.yaml")
    def source() -> Response:
        return Response(text, content_type="application/yaml")

    @pages.get("/docs")
    def page() -> Response:
        read = document()
        words = {"doc": read, "spec": read.spec, "markdown": _markdown, "as_json": _json}
        response = Response(render_template("api.html", **words))
        response.headers["Content-Security-Policy"] = _PAGE_POLICY
        return response

    return pages


def _markdown(text: str) -> Markup:
    return Markup(as_html(text))  # noqa: S704  (cleaned of everything that could act)


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
