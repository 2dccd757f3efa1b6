"""One instant, one knowledge, and the service as each site has it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from encoding import Case, site_of
from flask.testing import FlaskClient
from response_check import checked

from cds_service.advisor import Advisor
from cds_service.knowledge import Knowledge, load_knowledge
from cds_service.records import Records
from cds_service.rendering.wording import Wording, load_wording
from cds_service.settings import Site
from cds_service.web.app import create_app

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
# What was wrong with the answers since the last test.
FAULTS: list[str] = []


@pytest.fixture(scope="session", autouse=True)
def _every_answer_is_checked() -> Iterator[None]:
    """Whatever a test is about: no answer on its way may break a rule of CDS Hooks."""
    unchecked = Advisor.advise
    Advisor.advise = checked(unchecked, FAULTS)  # type: ignore[method-assign]
    yield
    Advisor.advise = unchecked  # type: ignore[method-assign]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """A test that got an answer with a fault fails, and says the fault."""
    try:
        done = yield
    finally:
        said = list(dict.fromkeys(FAULTS))
        FAULTS.clear()
    assert not said, "; ".join(said)
    return done


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the safety suites have counted, a line each; and in one line what was left out for want of a program."""
    for report in terminalreporter.stats.get("passed", ()):
        for name, line in report.user_properties:
            if name == "safety":
                terminalreporter.write_line(str(line))
    why = [str(report.longrepr[-1]) for report in terminalreporter.stats.get("skipped", ())]
    without = {
        wanted: sum(word in reason for reason in why)
        for wanted, word in (("Chromium", "no browser"), ("Node and npm", "npm is missing"))
    }
    if missing := [f"{count} for want of {wanted}" for wanted, count in without.items() if count]:
        terminalreporter.write_line(f"Left out: tests or modules, {', '.join(missing)}. CI leaves nothing out.")


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core, installed in a folder of its own as locked. Where a change is about to land, it fails without npm."""
    if not shutil.which("npm") and os.environ.get("CI") != "true":
        pytest.skip("npm is missing: axe-core is not asked")
    folder = tmp_path_factory.mktemp("npm")
    for file in (Path(__file__).parent / "web" / "npm").iterdir():
        shutil.copy(file, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--cache", "cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    return (folder / "node_modules/axe-core/axe.min.js").read_text("utf-8")


@pytest.fixture(scope="session")
def now() -> datetime:
    """The clock of every test: it stands still."""
    return NOON


@pytest.fixture(scope="session")
def knowledge() -> Knowledge:
    """The knowledge that ships with the service."""
    return load_knowledge()


@pytest.fixture(scope="session")
def wording(knowledge: Knowledge) -> Wording:
    """The card wording that ships with the service."""
    return load_wording(knowledge=knowledge)


AdvisorOf = Callable[[Case], Advisor]
Door = Callable[[Case], FlaskClient]


@pytest.fixture(scope="session")
def advisor_of(knowledge: Knowledge, wording: Wording, now: datetime) -> AdvisorOf:
    """The advisor of a case's site."""

    @cache
    def advisor(site: Site) -> Advisor:
        return Advisor(knowledge, wording, site, lambda: now)

    return lambda case: advisor(Site.from_table(site_of(case)))


@pytest.fixture(scope="session")
def front_door(advisor_of: AdvisorOf) -> Door:
    """A caller of the service of a case's site, over HTTP."""

    @cache
    def door(advisor: Advisor) -> FlaskClient:
        return create_app(advisor).test_client()

    return lambda case: door(advisor_of(case))


@pytest.fixture(scope="session")
def advisor(knowledge: Knowledge, wording: Wording, now: datetime) -> Advisor:
    """The advisor of a site that has approved esketamine, in a country where it is marketed for injection."""
    protocol = {"id": "esketamine-iv", "approval": "SITE-PPD-01", "strength_mg_per_ml": 5}
    site = Site.from_table({"name": "Test hospital", "country": "CN", "protocol": protocol})
    return Advisor(knowledge, wording, site, lambda: now)


@pytest.fixture(scope="session")
def client(advisor: Advisor) -> FlaskClient:
    """The front door of that advisor."""
    return create_app(advisor).test_client()


@pytest.fixture(scope="session")
def new_postgres() -> Iterator[Callable[[], str]]:
    """Gives the URL of a new and empty PostgreSQL database at each call."""
    from postgres import postgres  # noqa: PLC0415  (it costs half a second, and few tests need it)

    with postgres() as new:
        yield new


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new and empty database is, as CDS_DATABASE names it: in a file, and on a server."""
    if request.param == "sqlite":
        return str(tmp_path / "records.sqlite3")
    new: Callable[[], str] = request.getfixturevalue("new_postgres")
    return new()


@pytest.fixture
def records(place: str) -> Iterator[Records]:
    """What is remembered, in either kind of database."""
    opened = Records.at(place)
    yield opened
    opened.close()
