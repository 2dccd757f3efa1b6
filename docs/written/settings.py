"""What can be set: environment variables, and the keys of a site file and of a tenants file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cds_service.settings import _DEBUGGING, Settings, Site
from cds_service.tenants import Tenant
from written.cells import WORDS, code, codes, page, table, words_for

PACKAGE: Final = Path(__file__).resolve().parents[2] / "cds_service"
# Names of variables that others have chosen, and that this program reads.
_OTHERS: Final = ("PROMETHEUS_MULTIPROC_DIR", r"OTEL_[A-Z_]+[A-Z]")
_OURS: Final = re.compile(r"\bCDS_[A-Z0-9_]*[A-Z0-9]\b")
_OF_TESTS: Final = re.compile(r"\"(CDS_(?:TEST|WRITE)_[A-Z0-9_]+|CHROMIUM)\"")
_VARIABLE: Final = re.compile(rf"{_OURS.pattern}|\b(?:{'|'.join(_OTHERS)})\b")


def variables() -> set[str]:
    """Every environment variable that the program names, but those that are for the tests only."""
    return _named(PACKAGE.rglob("*.py"), _VARIABLE) - set(WORDS["environment_of_tests"])


def variables_of_tests() -> set[str]:
    """Those that only tests and measurements read."""
    paths = (path for folder in ("tests", "benchmarks", ".ci") for path in (PACKAGE.parent / folder).rglob("*.py"))
    return _named(paths, _OF_TESTS) - variables()


def _named(paths: Iterable[Path], pattern: re.Pattern[str]) -> set[str]:
    return {name for path in paths for name in pattern.findall(path.read_text(encoding="utf-8"))}


def environment() -> str:
    """The page about the environment."""
    names = sorted(variables())
    words = words_for("environment", names)
    tests = sorted(variables_of_tests())
    words_of_tests = words_for("environment_of_tests", tests)
    return page(
        "Settings",
        "What the environment tells the service. It is read once, at start. What a hospital decides for itself stands "
        "in its [site file](site-file.md), and who may ask in the [tenants file](tenants-file.md).",
        table(("Variable", "Meaning", "Without it"), ((code(n), words[n]["says"], _without(words[n])) for n in names)),
        "A value that cannot be used is named in one line, and the service does not start.",
        "In production it also refuses to start while a variable is set that would show its inside to callers: "
        + codes(_DEBUGGING)
        + ".",
        "## For the tests only",
        table(("Variable", "Meaning"), ((code(name), words_of_tests[name]) for name in tests)),
    )


def _without(words: Any) -> str:
    """The default. Where it stands in the code it is read there."""
    attribute = words.get("attribute")
    return code(getattr(Settings(), attribute)) if attribute else str(words["without"])


def site_file() -> str:
    """The page about the site file."""
    rows = dict(keys_of(Site))
    words = words_for("site", rows)
    return page(
        "The site file",
        "What a hospital decides for itself, in TOML: `--site site.toml`, or `site` in the tenants file. Unknown keys "
        "are refused. `cds-service check --site site.toml` names every defect in a line. "
        "[An example with every key](../site.example.toml) is part of the project.",
        *_tables(rows, words),
    )


def tenants_file() -> str:
    """The page about the tenants file."""
    rows = dict(keys_of(Tenant))
    words = words_for("tenant", rows)
    return page(
        "The tenants file",
        "Who may ask, in TOML: one `[[tenant]]` for each EHR that is let in. `serve --tenants tenants.toml` reads it, "
        "and takes up a change within seconds; a file with a defect changes nothing, and the log says `tenants_kept`. "
        "`cds-service check --tenants tenants.toml` names every defect in a line. "
        "[An example with every key](../tenants.example.toml) is part of the project.",
        *_tables(rows, words),
    )


def _tables(rows: dict[str, FieldInfo], words: Any) -> Iterator[str]:
    """The keys of the top first, then those of each table below it."""
    parts: dict[str, list[tuple[str, ...]]] = {}
    for name, field in rows.items():
        part, _, key = name.rpartition(".")
        said = words[name]
        parts.setdefault(part, []).append((code(key), said, _kind(field.annotation, field), _default(field)))
    for part, cells in parts.items():
        if part:
            yield f"## `{part}`"
        yield table(("Key", "Meaning", "Kind", "Without it"), cells)


def keys_of(model: type[BaseModel], part: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Each key of a file with its field, those of its tables included: `ehr.servers`, `[[local]].codes`."""
    tables: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        inner, many = _model_in(field.annotation)
        if inner is None:
            yield f"{part}{name}", field
        else:
            tables.append((f"[[{name}]]." if many else f"[{name}].", inner))
    for place, inner in tables:
        yield from keys_of(inner, part + place)


def _model_in(annotation: Any, *, many: bool = False) -> tuple[type[BaseModel] | None, bool]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, many
    for inner in get_args(annotation):
        found = _model_in(inner, many=many or get_origin(annotation) is tuple)
        if found[0] is not None:
            return found
    return None, many


_PLAIN: Final = {str: "text", int: "number", Decimal: "number", bool: "`true` or `false`", Path: "path", date: "date"}


def _kind(annotation: Any, field: FieldInfo | None = None) -> str:
    """What may stand there, in words."""
    origin, inner = get_origin(annotation), [one for one in get_args(annotation) if one is not NoneType]
    if origin in (Union, UnionType):
        return " or ".join(_kind(one, field) for one in inner)
    if origin is Literal:
        return codes(inner)
    if origin is tuple:
        return f"list of {_kind(inner[0])}"
    if hasattr(annotation, "__metadata__"):  # Annotated
        return _kind(inner[0])
    return _PLAIN[annotation] + _limits(field)


def _limits(field: FieldInfo | None) -> str:
    said = []
    for limit in field.metadata if field is not None else ():
        match limit:
            case Ge(ge=least):
                said.append(f"from {least}")
            case Gt(gt=least):
                said.append(f"above {least}")
            case Le(le=most):
                said.append(f"to {most}")
            case Lt(lt=most):
                said.append(f"below {most}")
    return (", " if said else "") + " ".join(said)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be there"
    match field.default:
        case None | ():
            return "–"
        case bool() as truth:
            return code(str(truth).lower())
        case tuple() as several:
            return codes(several)
        case value:
            return code(value)
