"""What can be typed, watched and called: commands, metrics, events of the log, and addresses."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import typer.main
import yaml

from cds_service.__main__ import app
from cds_service.doctor import CHECKS
from cds_service.errors import Refusal
from cds_service.events import KINDS, Kind
from cds_service.knowledge import load_knowledge
from cds_service.web.metrics import Metrics
from written.cells import WORDS, code, codes, page, table, words_for

ROOT: Final = Path(__file__).resolve().parents[2]

# --- the command line -----------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name: `audit verify`."""
    yield from _below("", typer.main.get_command(app))


def _below(before: str, command: Any) -> Iterator[tuple[str, click.Command]]:
    for name, one in sorted(getattr(command, "commands", {}).items()):
        if getattr(one, "commands", None):
            yield from _below(f"{before}{name} ", one)
        else:
            yield f"{before}{name}", one


def command_line() -> str:
    """The page about the command line."""
    return page(
        "The command line",
        "In a checkout the program is `.venv/bin/cds-service`. It prints one plain line for each thing that is wrong, "
        "and ends with exit code 1. `--help` shows what stands here; `--version` prints the version.",
        *(part for name, command in commands() for part in _command(name, command)),
    )


def _command(name: str, command: click.Command) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    yield f"## {name}"
    usage = " ".join([f"cds-service {name}", *(["[OPTIONS]"] if options else []), *(_shown(a) for a in arguments)])
    yield f"```\n{usage}\n```"
    yield re.sub(r"(?<!\n)\n(?!\n)", " ", (command.help or "").strip())
    rows = [(code(_shown(p)), _says(p), _default(p)) for p in [*arguments, *options]]
    if rows:
        yield table(("Option", "Meaning", "Without it"), rows)


def _shown(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return parameter.metavar or str(parameter.name).upper()
    names = "/".join([*parameter.opts, *parameter.secondary_opts])
    flag = parameter.is_flag or not isinstance(parameter, click.Option | typer.core.TyperOption)
    return names if flag else f"{names} {parameter.metavar or str(parameter.name).upper().replace('_', '-')}"


def _says(parameter: Any) -> str:
    return str(getattr(parameter, "help", "") or "").strip()


def _default(parameter: Any) -> str:
    if parameter.required:
        return "must be there"
    if parameter.default in (None, (), False, []) or callable(parameter.default):
        return "–"
    if parameter.default is True:
        return code(parameter.opts[0])
    return code(parameter.default)


def doctor() -> str:
    """The page about what the doctor looks at."""
    return page(
        "The doctor's checks",
        "What `cds-service doctor` looks at: in a line each, what is true when all is well. "
        "[How to ask it](../how-to/doctor.md).",
        table(("Check", "What is true when all is well", "Needs"), ((code(c.id), c.well, c.needs) for c in CHECKS)),
    )


# --- what is counted ------------------------------------------------------------------------------


def metrics_page() -> str:
    """The page about what Prometheus can read."""
    found = sorted(_metrics())
    labels = sorted({label for _, _, labels, _ in found for label in labels})
    words = words_for("label", labels)
    return page(
        "Metrics",
        "`GET /metrics` counts for Prometheus. With `CDS_METRICS_TOKEN` it answers those who bring that token; without "
        "it, under `--insecure` without `--tenants` only, and elsewhere it is 404. No label ever holds a word of a "
        "chart: whatever is not in a closed list is counted as `other`.",
        table(("Metric", "Says", "Kind", "Labels"), ((code(n), s, k, codes(ls) or "–") for n, k, ls, s in found)),
        "## Labels",
        table(("Label", "Values"), ((code(label), words[label]) for label in labels)),
    )


def _metrics() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    counted = Metrics(load_knowledge(), ())
    for collector in counted.registry._collector_to_names:  # there is no public way to the labels
        (metric,) = collector.collect()
        shown = f"{metric.name}_total" if metric.type == "counter" else metric.name
        yield shown, metric.type, tuple(getattr(collector, "_labelnames", ())), metric.documentation


# --- what is logged -------------------------------------------------------------------------------


def events_page() -> str:
    """The page about the log."""
    words = words_for("event", (event.value for event in KINDS))
    reasons = words_for("refusal", (refusal.value for refusal in Refusal))
    return page(
        "The log",
        "The service writes JSON to standard error, a line for each event: `ts`, `level`, `event`, and the fields "
        "below. `tenant` and `correlation_id` stand in each line that is about a call. There is no free text, so "
        "nothing about a patient can slip in. Lines marked `security` are for whoever watches for intruders.",
        table(
            ("Event", "What it says", "Level", "Fields"),
            (
                (_event(name.value, kind), words[name.value], _level(kind), codes(kind.fields) or "–")
                for name, kind in KINDS.items()
            ),
        ),
        "What is at the level `debug` is counted in [`/metrics`](metrics.md) and never written: no setting shows it.",
        'A line with `"event": "library"` comes from a library: its logger\'s name and no more.',
        "## Why a caller was refused",
        "The `reason` of `caller_refused`, and the label of `auth_failures_total`. The caller hears none of this.",
        table(("Reason", "What it means, and what to do"), ((code(r.value), reasons[r.value]) for r in Refusal)),
    )


def _event(name: str, kind: Kind) -> str:
    return code(name) + (" (security)" if kind.security else "")


def _level(kind: Kind) -> str:
    return logging.getLevelName(kind.level).lower()


# --- what can be called ---------------------------------------------------------------------------


def addresses() -> str:
    """The page about the addresses."""
    described = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
    words_for("scheme", described["components"]["securitySchemes"])
    rows = [
        (
            code(f"{method.upper()} {path}"),
            operation["summary"],
            ", ".join(operation["responses"]),
            _who(path, operation),
        )
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
        if isinstance(operation, dict)
    ]
    return page(
        "Addresses",
        "Every address that the service answers. `openapi.yaml` describes each in full; a running service shows it as "
        "a page at `/docs`, and as a file at `/openapi.yaml`. The demonstration has some more, below `/demo`.",
        table(("Address", "What it is for", "Statuses", "Who may"), rows),
        "Each answers with and without a slash at its end, and never with a redirect. What is no success has a FHIR "
        "OperationOutcome for a body: it names what is wrong, and repeats nothing of a chart. But a 401 has no body, "
        "except from `/insights` and `/insights/session`: they answer it with a page to sign in, as `/insights/oidc` "
        "and what is below it do with 403 and with 503. And `/readyz` says in JSON of its own why it is 503.",
    )


def _who(path: str, operation: Any) -> str:
    if path.startswith("/consultations/"):
        return "whoever has the signed link of a card"
    schemes = {name for one in operation.get("security", ()) for name in one}
    return " or ".join(WORDS["scheme"][name] for name in sorted(schemes)) or "anybody who can reach it"
