"""`evaluate --fhir-server` plays an EHR: what it reads and sends, what it prints and keeps, and what it refuses."""

from __future__ import annotations

import json
import re
import shlex
import stat
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import pytest
from conftest import NOON
from ehr import prefetch_for, service_for
from encoding import Case, Json, encode, read_cases
from heard import all_of
from real_server import Handler, lame, listening, real_server
from werkzeug.serving import make_server

from cds_service.__main__ import main
from cds_service.advisor import Advisor
from cds_service.hooks.request import HOOKS
from cds_service.knowledge import Knowledge
from cds_service.rehearsal import Scene, Stage
from cds_service.rendering.wording import Wording
from cds_service.settings import Site
from cds_service.web.app import create_app

CASES = {case.id: case for case in read_cases()}
WOMEN = [CASES[id_] for id_ in ("V01", "V10", "V05")]
AT_NOON = ("--now", NOON.isoformat())
TOKEN = "token-Zebrafinch4711"  # noqa: S105  (of a server that lives as long as the test)
VARIABLE = "REHEARSAL_TOKEN"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "how-to" / "fhir-server.md"
SITE = """
name = "Test hospital"
country = "CN"
[protocol]
id = "esketamine-iv"
approval = "SITE-PPD-01"
strength_mg_per_ml = 5
"""


# ---- Typing the command


@dataclass(frozen=True)
class Done:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line that says what is wrong."""
        assert (self.code, self.out) == (1, "")
        (line,) = self.err.splitlines()
        assert TOKEN not in line
        return line


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["cds-service", "evaluate", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        told = capsys.readouterr()
        return Done(int(end.value.code or 0), told.out, told.err)

    return command


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    return path


def kept(folder: Path) -> tuple[Json, Json]:
    """The request and the answer that were saved."""
    request, answer = (json.loads((folder / name).read_text()) for name in ("request.json", "answer.json"))
    return request, answer


def woman(case: Case) -> tuple[str, str]:
    return "--patient", f"woman-{case.slug}"


def named(case: Case) -> str:
    return case.id


# ---- Against a real server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    charts = [resource for case in WOMEN for resource in encode(case, NOON)]
    with real_server(tmp_path_factory.mktemp("server"), charts) as base:
        yield base


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    auth = {"types": ["bearer"], "tokens": [TOKEN]}
    with real_server(tmp_path_factory.mktemp("guarded"), encode(WOMEN[0], NOON), server_auth=auth) as base:
        yield base


@pytest.fixture(scope="module")
def advisor_at_noon(knowledge: Knowledge, wording: Wording) -> Advisor:
    return Advisor(knowledge, wording, Site.from_table(tomllib.loads(SITE)), lambda: NOON)


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("case", WOMEN, ids=named)
def test_it_explains_what_a_file_with_the_same_chart_would_get(
    case: Case, form: tuple[str, ...], server: str, run: Run, site: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    played = run(
        "--fhir-server", server, *woman(case), "--order", "caesarean", "--site", site, *AT_NOON, *form, "--save", folder
    )
    request, _ = kept(folder)
    templates = service_for("order-select", json.loads(run("--discovery").out))["prefetch"]
    request["prefetch"] = prefetch_for(case, NOON, templates, request["context"])
    file = tmp_path / "request.json"
    file.write_text(json.dumps(request))

    from_file = run(file, "--site", site, *AT_NOON, *form)

    assert (played.code, played.err) == (0, "")
    assert played == from_file
    assert case.slug in played.out


def test_the_request_is_one_that_an_ehr_would_send(server: str, run: Run, site: Path, tmp_path: Path) -> None:
    case = WOMEN[0]
    run("--fhir-server", server, *woman(case), "--site", site, *AT_NOON, "--save", tmp_path)

    request, _ = kept(tmp_path)

    assert set(request) == {"hook", "hookInstance", "fhirServer", "context", "prefetch"}
    assert (request["hook"], request["fhirServer"]) == ("order-select", server)
    context = request["context"]
    (order,) = [entry["resource"] for entry in context["draftOrders"]["entry"]]
    assert context["selections"] == [f"{order['resourceType']}/{order['id']}"]
    assert (context["patientId"], context["encounterId"]) == ("woman-v01", "stay-v01")
    assert context["userId"].startswith("Practitioner/")
    assert order["status"] == "draft"
    assert order["subject"] == {"reference": "Patient/woman-v01"}
    assert order["encounter"] == {"reference": "Encounter/stay-v01"}
    assert order["authoredOn"] == "2026-11-23T12:00:00Z"
    assert request["prefetch"]["patient"]["id"] == "woman-v01"
    held = encode(case, NOON)
    for kind, key in (("Condition", "problems"), ("AllergyIntolerance", "allergies")):
        sent = {entry["resource"]["id"] for entry in request["prefetch"][key].get("entry", [])}
        assert sent == {resource["id"] for resource in held if resource["resourceType"] == kind}


@pytest.mark.parametrize(
    ("order", "code"), [(None, "700000006"), ("delivery", "700000006"), ("caesarean", "11466000"), ("esketamine", None)]
)
def test_the_order_that_is_named_is_drafted(
    order: str | None, code: str | None, server: str, run: Run, site: Path, tmp_path: Path
) -> None:
    chosen = () if order is None else ("--order", order)

    done = run("--fhir-server", server, *woman(WOMEN[0]), *chosen, "--site", site, *AT_NOON, "--save", tmp_path)

    assert done.code == 0
    (entry,) = kept(tmp_path)[0]["context"]["draftOrders"]["entry"]
    if code is None:
        assert entry["resource"]["resourceType"] == "MedicationRequest"
    else:
        assert [coding["code"] for coding in entry["resource"]["code"]["coding"]] == [code]


@pytest.mark.parametrize("hook", [service.hook for service in HOOKS])
def test_every_hook_can_be_fired(hook: str, server: str, run: Run, site: Path, tmp_path: Path) -> None:
    arguments = ("--fhir-server", server, *woman(WOMEN[0]), "--hook", hook, "--site", site, *AT_NOON)

    done = run(*arguments, "--json", "--save", tmp_path)

    request, _ = kept(tmp_path)
    assert done.code == 0
    assert json.loads(done.out)["hookInstance"] == request["hookInstance"]
    assert ("draftOrders" in request["context"]) == (hook in ("order-select", "order-sign"))
    assert ("selections" in request["context"]) == (hook == "order-select")


def test_the_time_decides(server: str, run: Run, site: Path) -> None:
    """A month later the stay goes on, but what was measured is too old."""
    arguments = ("--fhir-server", server, *woman(WOMEN[0]), "--order", "caesarean", "--site", site, "--json")

    statuses = [
        json.loads(run(*arguments, "--now", instant).out)["eligibility"]["status"]
        for instant in (NOON.isoformat(), "2026-12-23T12:00:00Z")
    ]

    assert statuses == ["eligible-conditional", "data-missing"]


def test_without_a_site_file_no_medicine_is_offered(server: str, run: Run) -> None:
    done = run("--fhir-server", server, *woman(WOMEN[0]), "--order", "caesarean", *AT_NOON, "--json")

    assert json.loads(done.out)["eligibility"]["status"] == "no-approved-protocol"


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_what_was_kept_gives_the_same_answer_again(
    form: tuple[str, ...], server: str, run: Run, site: Path, tmp_path: Path
) -> None:
    arguments = ("--site", site, *AT_NOON, *form)
    played = run("--fhir-server", server, *woman(WOMEN[0]), "--order", "caesarean", *arguments, "--save", tmp_path)

    again = run(tmp_path / "request.json", *arguments)

    assert again == played
    if form:
        assert json.loads(again.out)["cards"] == kept(tmp_path)[1]["cards"]


def test_only_their_owner_can_read_what_was_kept(server: str, run: Run, site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    arguments = ("--fhir-server", server, *woman(WOMEN[0]), "--site", site, *AT_NOON, "--save", folder)
    run(*arguments)
    (folder / "request.json").chmod(0o644)

    assert run(*arguments).code == 0

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "request.json": 0o600,
        "answer.json": 0o600,
    }


def test_a_search_that_fails_is_sent_as_an_operation_outcome(server: str, run: Run, site: Path, tmp_path: Path) -> None:
    with lame(server) as origin:
        base = f"{origin}/without.Condition"
        done = run(
            *("--fhir-server", base, *woman(WOMEN[0]), "--order", "caesarean"),
            *("--site", site, *AT_NOON, "--save", tmp_path, "--json"),
        )

    prefetch = kept(tmp_path)[0]["prefetch"]
    failed = {key for key, value in prefetch.items() if value["resourceType"] == "OperationOutcome"}
    assert failed == {"problems"}
    assert json.loads(done.out)["dose"] is None


# ---- The token


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment holds the token that opens the server."""
    monkeypatch.setenv(VARIABLE, TOKEN)


@pytest.mark.usefixtures("token")
def test_the_token_opens_the_chart_and_is_told_to_nobody(
    guarded: str, run: Run, site: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")

    done = run(
        *("--fhir-server", guarded, *woman(WOMEN[0]), "--token-env", VARIABLE, "--order", "caesarean"),
        *("--site", site, *AT_NOON, "--save", tmp_path / "kept"),
    )

    assert done.code == 0
    assert "eligible-conditional" in done.out
    assert not (tmp_path / "kept" / TOKEN).exists()
    told = [done.out, done.err, all_of(caplog), *(path.read_text() for path in (tmp_path / "kept").iterdir())]
    assert not [text for text in told if TOKEN in text]


@pytest.mark.parametrize("token", [None, f"another-{TOKEN}"])
def test_without_its_token_the_chart_stays_closed(
    token: str | None, guarded: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, token or "")
    leave = ("--token-env", VARIABLE) if token else ()

    assert "token" in run("--fhir-server", guarded, *woman(WOMEN[0]), *leave).complaint


@pytest.mark.parametrize("token", [None, "", "two words", "line\nbreak"])
def test_a_token_that_is_not_there_or_is_none_is_one_line(
    token: str | None, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if token is not None:
        monkeypatch.setenv(VARIABLE, token)

    complaint = run("--fhir-server", "https://ehr.example.org", "--patient", "a", "--token-env", VARIABLE).complaint

    assert "token" in complaint
    assert not token or token not in complaint


def test_no_token_goes_over_an_open_wire(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, TOKEN)

    done = run("--fhir-server", "http://ehr.example.org/fhir", "--patient", "a", "--token-env", VARIABLE)

    assert "https" in done.complaint


# ---- Against a server that says what the test wants


@dataclass
class Told:
    """A web server with some pages by path, and the requests that it got. Any other page is a 404."""

    pages: dict[str, Any] = field(default_factory=dict)
    got: list[tuple[str, str, bytes]] = field(default_factory=list)
    otherwise: tuple[int, str, bytes] = (404, "text/html", b"<html>no such page</html>")
    base: str = ""

    def answer(self, path: str) -> tuple[int, str, bytes]:
        page = self.pages.get(unquote(path), self.pages.get(path.partition("?")[0]))
        if page is None:
            return self.otherwise
        return page if isinstance(page, tuple) else (200, "application/fhir+json", json.dumps(page).encode())


@contextmanager
def web_server(told: Told) -> Iterator[Told]:
    class Page(Handler):
        def page(self, body: bytes) -> tuple[int, str, bytes]:
            told.got.append((self.command, self.path, body))
            return told.answer(self.path)

    with listening(Page) as told.base:
        yield told


ANNA: Json = {"resourceType": "Patient", "id": "anna", "gender": "female", "birthDate": "1995-05-05"}
CAPABLE: Json = {"resourceType": "CapabilityStatement", "status": "active", "fhirVersion": "4.0.1"}


def found(*resources: Json, **more: Any) -> Json:
    entry = {"entry": [{"resource": resource} for resource in resources]} if resources else {}
    return {"resourceType": "Bundle", "type": "searchset", "total": len(resources), **entry, **more}


def stay(id_: str, start: str | None, end: str | None = None, *, whose: str = "anna", status: str = "finished") -> Json:
    period = {name: value for name, value in (("start", start), ("end", end)) if value}
    whole = {"resourceType": "Encounter", "id": id_, "status": status, "subject": {"reference": f"Patient/{whose}"}}
    return whole | ({"period": period} if period else {})


def sent(told: Told, templates: Json, hook: str = "patient-view") -> Json:
    """The request that is made from this server's pages."""
    with web_server(told) as server:
        return Stage(server.base).request(Scene.of(hook, "anna", NOON), templates)


def hers(kind: str) -> str:
    """The template of a search for her resources of one type."""
    return f"{kind}?patient={{{{context.patientId}}}}"


STAYS = [
    pytest.param([], None, id="none"),
    pytest.param([stay("now", None, status="in-progress")], "now", id="one that goes on, without a date"),
    pytest.param(
        [stay("last", "2026-11-22", "2026-11-23"), stay("now", "2026-11-01", status="in-progress")],
        "now",
        id="one that goes on before one that began later",
    ),
    pytest.param(
        [stay("a", "2026-11-20", status="in-progress"), stay("b", "2026-11-21", status="in-progress")],
        "b",
        id="the later of two that go on",
    ),
    pytest.param(
        [stay("b", "2026-11-10", "2026-11-12"), stay("a", "2026-11-20", "2026-11-21")], "a", id="the latest that ended"
    ),
    pytest.param([stay("long", "2026-08-01", "2026-11-20")], "long", id="a long one that ended lately"),
    pytest.param([stay("old", "2026-09-01", "2026-09-03")], None, id="one that ended long ago"),
    pytest.param([stay("planned", "2026-12-01", status="planned")], None, id="one that is planned"),
    pytest.param([stay("his", "2026-11-22", status="in-progress", whose="ben")], None, id="somebody else's"),
    pytest.param([{"resourceType": "Encounter"}, {"resourceType": "Patient", "id": "x"}], None, id="no stay"),
]


@pytest.mark.parametrize(("stays", "chosen"), STAYS)
def test_the_stay_is_the_one_that_goes_on_or_the_latest_of_the_last_days(stays: list[Json], chosen: str | None) -> None:
    """A server may know neither `status` nor `date`: it sends them all."""
    pages = {"/Patient/anna": ANNA, "/Encounter": found(*stays), "/Encounter/" + (chosen or "x"): {"id": chosen}}

    request = sent(Told(pages), {"encounter": "Encounter/{{context.encounterId}}"})

    assert request["context"].get("encounterId") == chosen
    assert ("encounter" in request["prefetch"]) == (chosen is not None)


def test_what_the_server_does_not_know_is_left_out_and_what_fails_says_so() -> None:
    pages = {
        "/Patient/anna": ANNA,
        "/Condition": (500, "text/plain", b"oops"),
        "/Procedure": (403, "application/fhir+json", b"{}"),
        "/Observation": found(),
    }
    searches = {kind.lower(): hers(kind) for kind in ("Condition", "Procedure", "Goal")}
    needless = {"role": "PractitionerRole/{{userPractitionerRoleId}}", "today": "Observation?date={{today()}}"}

    request = sent(Told(pages), {**searches, **needless, "labs": "Observation?patient={{ context.patientId }}"})

    prefetch = request["prefetch"]
    assert {key: value["resourceType"] for key, value in prefetch.items()} == {
        "condition": "OperationOutcome",
        "procedure": "OperationOutcome",
        "labs": "Bundle",
    }
    assert prefetch["procedure"]["issue"][0]["code"] == "forbidden"
    assert "entry" not in prefetch["labs"]


def test_all_pages_are_in_one_bundle_and_one_that_cannot_be_had_is_told() -> None:
    one, two = ({"resourceType": "Goal", "id": name} for name in ("one", "two"))
    pages = {
        "/Patient/anna": ANNA,
        "/Goal": found(one, total=2, link=[{"relation": "next", "url": "Goal?page=2"}]),
        "/Goal?page=2": found(two, total=2),
        "/Flag": found(one, total=2, link=[{"relation": "next", "url": "https://elsewhere.example.org/Flag?page=2"}]),
        "/List": found(one, total=2),
    }

    request = sent(Told(pages), {kind: hers(kind) for kind in ("Goal", "Flag", "List")})

    whole, cut, short = (request["prefetch"][kind] for kind in ("Goal", "Flag", "List"))
    assert [entry["resource"] for entry in whole["entry"]] == [one, two]
    links = [[link["relation"] for link in bundle["link"]] for bundle in (whole, cut, short)]
    assert links == [["self"], ["self", "next"], ["self", "next"]]


HTML = (200, "text/html", b"<html>welcome</html>")
BROKEN = [
    pytest.param(Told({"/metadata": CAPABLE}), "no patient with this id", id="no such patient"),
    pytest.param(Told({"/metadata": CAPABLE, "/Patient/anna": ANNA | {"id": "b"}}), "not give", id="another patient"),
    pytest.param(Told({"/metadata": CAPABLE, "/Patient/anna": (500, "x/y", b"")}), "not give", id="the read fails"),
    pytest.param(Told({"/metadata": CAPABLE, "/Patient/anna": HTML}), "not give", id="a page instead of the patient"),
    pytest.param(Told({"/Patient/anna": (401, "x/y", b"")}), "token", id="no leave"),
    pytest.param(Told(otherwise=HTML), "no FHIR R4 server", id="a web site"),
    pytest.param(Told(), "no FHIR R4 server", id="a web site without that page"),
    pytest.param(Told(otherwise=(302, "text/html", b"")), "no FHIR R4 server", id="a way to elsewhere"),
]


@pytest.mark.parametrize(("told", "words"), BROKEN)
def test_a_server_that_does_not_give_the_patient_is_one_line(told: Told, words: str, run: Run, tmp_path: Path) -> None:
    with web_server(told) as server:
        complaint = run("--fhir-server", server.base, "--patient", "anna", "--save", tmp_path).complaint

    assert words in complaint
    assert "anna" not in complaint
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_one_line(run: Run) -> None:
    with web_server(Told()) as server:
        gone = server.base

    assert "cannot be reached" in run("--fhir-server", gone, "--patient", "anna").complaint


# ---- Another service


@pytest.fixture
def service(advisor_at_noon: Advisor) -> Iterator[str]:
    """The service itself over HTTP, with a clock that stands still."""
    running = make_server("127.0.0.1", 0, create_app(advisor_at_noon), threaded=False)
    thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}"
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


@pytest.mark.parametrize("end", ["", "/", "/cds-services", "/cds-services/"])
def test_a_service_that_runs_elsewhere_is_asked_and_its_cards_are_printed(
    end: str, service: str, server: str, run: Run, site: Path, tmp_path: Path
) -> None:
    arguments = ("--fhir-server", server, *woman(WOMEN[0]), "--order", "caesarean", *AT_NOON, "--save", tmp_path)

    done = run(*arguments, "--service", service + end)

    _, answer = kept(tmp_path)
    assert done.code == 0
    assert answer["cards"]
    printed = " ".join(done.out.split())
    for card in answer["cards"]:
        assert f"[{card['indicator']}] {card['summary']}" in printed
        assert " ".join(card["detail"].split()) in printed
        assert all(f"+ {suggestion['label']}" in printed for suggestion in card.get("suggestions", []))
    here = run(tmp_path / "request.json", "--site", site, *AT_NOON, "--json")
    assert json.loads(here.out)["cards"] == answer["cards"]


def test_its_answer_can_be_printed_as_it_is(service: str, server: str, run: Run, tmp_path: Path) -> None:
    arguments = ("--fhir-server", server, *woman(WOMEN[0]), "--service", service, *AT_NOON, "--save", tmp_path)

    assert json.loads(run(*arguments, "--json").out) == kept(tmp_path)[1]


TEMPLATES = {"patient": "Patient/{{context.patientId}}"}
OURS = {"services": [{"hook": "order-select", "id": "theirs", "prefetch": TEMPLATES}]}
CARD = {"summary": "Red \x1b[31m", "indicator": "info", "detail": "one\ntwo\x07", "suggestions": [{"label": "Do it"}]}


@pytest.fixture
def anna() -> Iterator[str]:
    with web_server(Told({"/Patient/anna": ANNA, "/Encounter": found()})) as server:
        yield server.base


def test_a_foreign_card_cannot_command_the_terminal(anna: str, run: Run) -> None:
    pages = {"/cds-services": OURS, "/cds-services/theirs": {"cards": [CARD]}}
    with web_server(Told(pages)) as service:
        done = run("--fhir-server", anna, "--patient", "anna", "--service", service.base)

    assert done.out.splitlines()[3:] == ["- [info] Red [31m", "    one", "    two", "    + Do it", ""]
    assert [verb for verb, _, _ in service.got] == ["GET", "POST"]


def test_no_card_is_said_so(anna: str, run: Run) -> None:
    pages = {"/cds-services": OURS, "/cds-services/theirs": {"cards": []}}
    with web_server(Told(pages)) as service:
        done = run("--fhir-server", anna, "--patient", "anna", "--service", service.base)

    assert (done.code, done.out.splitlines()[-2]) == (0, "No card.")


def test_the_service_never_sees_the_token(
    guarded: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, TOKEN)
    pages = {"/cds-services": OURS, "/cds-services/theirs": {"cards": []}}
    with web_server(Told(pages)) as service:
        done = run(
            *("--fhir-server", guarded, *woman(WOMEN[0]), "--token-env", VARIABLE),
            *("--service", service.base, "--save", tmp_path),
        )

    (_, _, body) = service.got[-1]
    assert done.code == 0
    assert json.loads(body) == kept(tmp_path)[0]
    assert TOKEN.encode() not in body


REFUSED = (412, "application/fhir+json", json.dumps({"issue": [{"diagnostics": "no\x1b patient"}]}).encode())
DEAF = [
    pytest.param({}, "discovery", id="no discovery document"),
    pytest.param({"/cds-services": HTML}, "JSON", id="a page"),
    pytest.param({"/cds-services": []}, "order-select", id="no services"),
    pytest.param({"/cds-services": {"services": [{"hook": "patient-view", "id": "x"}]}}, "order-select", id="not ours"),
    pytest.param({"/cds-services": OURS}, "404", id="no such service"),
    pytest.param({"/cds-services": OURS, "/cds-services/theirs": HTML}, "JSON", id="a page as answer"),
    pytest.param({"/cds-services": OURS, "/cds-services/theirs": REFUSED}, "412: no patient", id="refused"),
]


@pytest.mark.parametrize(("pages", "words"), DEAF)
def test_a_service_that_does_not_answer_is_one_line(pages: Json, words: str, anna: str, run: Run) -> None:
    with web_server(Told(pages)) as service:
        complaint = run("--fhir-server", anna, "--patient", "anna", "--service", service.base).complaint

    assert words in complaint


def test_a_service_that_is_not_there_is_one_line(anna: str, run: Run, tmp_path: Path) -> None:
    with web_server(Told()) as service:
        gone = service.base

    complaint = run("--fhir-server", anna, "--patient", "anna", "--service", gone, "--save", tmp_path).complaint

    assert "cannot be reached" in complaint


def test_an_old_answer_does_not_stay_beside_a_new_request(anna: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text("old")
    with web_server(Told({"/cds-services": OURS})) as service:
        run("--fhir-server", anna, "--patient", "anna", "--service", service.base, "--save", tmp_path).complaint  # noqa: B018

    assert (tmp_path / "request.json").exists()
    assert "old" not in (tmp_path / "answer.json").read_text()


# ---- What cannot be meant


NOWHERE = ("--fhir-server", "http://127.0.0.1:9/fhir")
WRONG = [
    pytest.param((*NOWHERE,), "--patient", id="nobody"),
    pytest.param((*NOWHERE, "--patient", "a", "file.json"), "files", id="a file, too"),
    pytest.param((*NOWHERE, "--patient", "a", "--discovery"), "--discovery", id="the discovery document, too"),
    pytest.param((*NOWHERE, "--patient", "a", "--hook", "order-dispatch"), "hook is none of", id="unknown hook"),
    pytest.param((*NOWHERE, "--patient", "a", "--order", "toast"), "--order is none of", id="unknown order"),
    pytest.param(
        (*NOWHERE, "--patient", "a", "--hook", "patient-view", "--order", "delivery"),
        "order-select",
        id="no order here",
    ),
    pytest.param((*NOWHERE, "--patient", "a/../b"), "FHIR id", id="no id"),
    pytest.param((*NOWHERE, "--patient", ""), "empty", id="an empty id"),
    pytest.param((*NOWHERE, "--patient", "a", "--service", "ftp://x"), "--service", id="no URL of a service"),
    pytest.param(
        (*NOWHERE, "--patient", "a", "--service", "http://127.0.0.1:9", "--site", "s.toml"), "--site", id="two sites"
    ),
    pytest.param(("--fhir-server", "ehr.example.org", "--patient", "a"), "--fhir-server", id="no URL"),
    pytest.param(("--fhir-server", "https://u:p@ehr.example.org", "--patient", "a"), "--fhir-server", id="a user"),
    pytest.param((*NOWHERE, "--patient", "a", "--now", "noon"), "--now", id="no instant"),
    *(
        pytest.param((option, "x"), f"{option} needs --fhir-server", id=f"{option} alone")
        for option in ("--patient", "--hook", "--order", "--token-env", "--service", "--save")
    ),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_what_cannot_be_meant_is_one_line(arguments: tuple[str, ...], words: str, run: Run) -> None:
    complaint = run(*arguments).complaint

    assert words in complaint
    assert "u:p" not in complaint


def test_a_folder_that_cannot_be_written_is_one_line(anna: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    complaint = run("--fhir-server", anna, "--patient", "anna", "--save", tmp_path / "file" / "folder").complaint

    assert "--save" in complaint


# ---- The papers


def test_the_example_of_the_page_runs(server: str, run: Run) -> None:
    lines: list[str] = re.findall(r"^\.venv/bin/cds-service evaluate (.+)$", PAGE.read_text(), re.MULTILINE)
    assert lines

    for line in lines:
        words = shlex.split(line)
        values = {"--fhir-server": server, "--patient": "woman-v01"}
        words = [values.get(before, word) for before, word in zip(["", *words], words, strict=False)]
        assert run(*words, *AT_NOON).code == 0
