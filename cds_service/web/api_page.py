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
_PACKAGE: Final = Path(__file__).resolve().parents[1]
_SCHEMAS: Final = "#/components/schemas/"
# What a reader wants to know of a value besides its type.
_LIMITS: Final = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minimum": "{} or more",
    "minProperties": "at least {} members",
}


def specification(package: Path = _PACKAGE) -> Path:
    """`openapi.yaml`: beside the package in a checkout, inside it in a wheel."""
    installed = package / "openapi.yaml"
    return installed if installed.is_file() else package.parent / "openapi.yaml"


@dataclass(frozen=True, slots=True)
class Kind:
    """
    What a value is, to be read from left to right: words, the schema by that name, the only values, further kinds.

    "list of " has one further kind; a choice has no words and several.
    """

    words: str = ""
    schema: str | None = None
    values: tuple[str, ...] = ()
    of: tuple[Kind, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """One line in the table of an object."""

    name: str
    schema: Mapping[str, Any]
    required: bool


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
        """What a value of this schema is."""
        if (reference := schema.get("$ref", "")).startswith(_SCHEMAS):
            name = reference.removeprefix(_SCHEMAS)
            return Kind(name, name)
        if schema.get("type") == "array":
            return Kind("list of ", of=(self.kind(schema.get("items", {})),))
        if values := [schema["const"]] if "const" in schema else schema.get("enum"):
            return Kind(values=tuple(_json(value) for value in values))
        if choices := schema.get("oneOf"):
            return Kind(of=tuple(self.kind(choice) for choice in choices))
        kinds = schema.get("type", "any value")
        return Kind(kinds if isinstance(kinds, str) else " or ".join(kinds))

    def bases(self, schema: Mapping[str, Any]) -> list[Kind]:
        """The named schemas that this one adds to."""
        return [self.kind(part) for part in schema.get("allOf", ()) if "$ref" in part]

    def members(self, schema: Mapping[str, Any]) -> Iterator[Member]:
        """The members that this schema itself names."""
        for part in schema.get("allOf", ()):
            if "$ref" not in part and "if" not in part:
                yield from self.members(part)
        required = schema.get("required", ())
        for name, member in schema.get("properties", {}).items():
            yield Member(name, member, name in required)

    def limits(self, schema: Mapping[str, Any]) -> list[str]:
        """How long, how many, how large."""
        return [
            "not empty" if (name[:3], schema[name]) == ("min", 1) else words.format(f"{schema[name]:,}")
            for name, words in _LIMITS.items()
            if name in schema
        ]


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
