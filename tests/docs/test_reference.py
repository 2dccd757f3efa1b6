"""Every setting, key, command, metric, event, address, card and rule can be looked up."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main
from pydantic import BaseModel

from cds_service.__main__ import app
from cds_service.advisor import Advisor
from cds_service.doctor import CHECKS
from cds_service.errors import Refusal
from cds_service.events import Event
from cds_service.hooks.request import HOOKS
from cds_service.knowledge import Knowledge
from cds_service.records import Records
from cds_service.settings import Site
from cds_service.tenants import Tenant
from cds_service.web.app import create_app
from cds_service.web.metrics import Metrics

DOCS = Path(__file__).resolve().parents[2] / "docs"
sys.path.insert(0, str(DOCS))

from written import __main__ as written  # noqa: E402  (it lies beside the pages)
from written import cells  # noqa: E402


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def missing(names: Iterable[str], text: str) -> list[str]:
    """Those that do not stand there as code, or as the whole of a heading."""
    return [name for name in names if f"`{name}`" not in text and f"\n## {name}\n" not in text]


def test_the_pages_are_what_the_code_says() -> None:
    assert written.outdated() == [], "run `make docs`"


@pytest.mark.parametrize(("file", "model"), [("site-file", Site), ("tenants-file", Tenant)])
def test_every_key_of_a_file_is_there(file: str, model: type[BaseModel]) -> None:
    text = page(f"reference/{file}.md")

    for part, keys in _keys(model.model_json_schema(), text).items():
        assert missing(keys, text.partition(part)[2] if part else text) == []


def _keys(schema: dict[str, Any], text: str) -> dict[str, list[str]]:
    """The keys by the heading under which they must stand: as the JSON schema has them, so by another way."""
    found: dict[str, list[str]] = {"": []}
    for name, one in schema["properties"].items():
        inner = re.search(r"#/\$defs/(\w+)", str(one))
        if inner is None:
            found[""].append(name)
            continue
        heading = next(head for head in (f"## `[{name}]`", f"## `[[{name}]]`") if head in text)
        found[heading] = list(schema["$defs"][inner[1]]["properties"])
    return found


def _commands(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
    for word, one in (inner or {}).items():
        yield from _commands(one, f"{name} {word}".strip())


def test_every_command_and_every_option_is_there() -> None:
    text = page("reference/command-line.md")
    commands = dict(_commands(typer.main.get_command(app)))

    assert len(commands) >= 8
    for name, command in commands.items():
        part = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert part, name
        for one in command.params:
            assert one.name == "help" or all(
                option in part for option in (*one.opts, *one.secondary_opts) if "-" in option
            )


def test_every_check_of_the_doctor_is_there() -> None:
    assert missing((check.id for check in CHECKS), page("reference/doctor.md")) == []


def test_every_metric_is_there(knowledge: Knowledge) -> None:
    shown = Metrics(knowledge, ()).exposition().decode()
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", shown, re.MULTILINE))
    names = [name for name in kinds if not name.endswith("_created")]

    assert len(names) >= 10
    assert missing(names, page("reference/metrics.md")) == []


def test_every_event_of_the_log_is_there() -> None:
    assert missing((event.value for event in Event), page("reference/log.md")) == []


def test_every_reason_for_which_a_caller_is_refused_is_there() -> None:
    assert missing((refusal.value for refusal in Refusal), page("reference/log.md")) == []


def test_every_address_is_there(advisor: Advisor) -> None:
    routes = create_app(advisor, records=Records.in_memory()).url_map.iter_rules()
    paths = {re.sub(r"<(?:\w+:)?\w+>", "{id}", rule.rule).rstrip("/") for rule in routes}
    text = page("reference/addresses.md")

    assert {path for path in paths if path and f" {path}`" not in text and "/static" not in path} == set()


def test_every_card_and_every_service_is_there(knowledge: Knowledge) -> None:
    assert missing((row.code for row in knowledge.topics.topic), page("reference/cards.md")) == []
    assert missing((service.id for service in HOOKS), page("reference/services.md")) == []


def test_every_rule_every_input_and_every_protocol_is_there(knowledge: Knowledge) -> None:
    tables = (knowledge.contraindications, knowledge.reviews, knowledge.modifiers)
    ids = [row.id for one in tables for row in one.criterion]
    ids += [row.id for row in knowledge.inputs.input]
    ids += [row.id for row in knowledge.protocols.protocol]

    assert len(ids) > 60
    assert missing(ids, page("reference/rules.md")) == []


def test_every_statement_of_the_evidence_is_there_with_its_sources(knowledge: Knowledge) -> None:
    text = page("explanation/evidence.md")

    for statement in knowledge.evidence.statement:
        assert statement.says in text
        assert all(f"](#{source})" in text for source in statement.sources)
    assert all(f"\n### {name}\n" in text for name in knowledge.sources)


def test_what_has_no_words_is_named() -> None:
    with pytest.raises(cells.Wordless, match=r"\[card\] says nothing about NEWCARD"):
        cells.words_for("card", [*cells.WORDS["card"], "NEWCARD"])
    with pytest.raises(cells.Wordless, match=r"\[card\] speaks of PPDSAFETY, which the code does not know"):
        cells.words_for("card", [name for name in cells.WORDS["card"] if name != "PPDSAFETY"])
