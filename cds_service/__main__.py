"""The command line: run the service, check what it knows, explain what it would say, or show it to a newcomer."""

from __future__ import annotations

import ipaddress
import os
import sys
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, Optional

import typer

from cds_service import __version__
from cds_service.advisor import Advisor
from cds_service.clinical.approval import NOT_MARKETED
from cds_service.errors import (
    ChartUnavailable,
    KnowledgeUnfit,
    RequestUnreadable,
    ServiceUnknown,
    SiteUnfit,
    StoreUnavailable,
)
from cds_service.events import place_of
from cds_service.settings import DEFAULT_SITE, Settings, Site
from cds_service.starting import advisor_at

if TYPE_CHECKING:
    from cds_service.bookkeeping import Books
    from cds_service.explanations import Explanations
    from cds_service.rehearsal import Response

app = typer.Typer(
    name="cds-service",
    help="Postpartum depression risk, and eligibility for ketamine or esketamine at delivery, as CDS Hooks cards.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

SiteOption = Annotated[
    Optional[Path],  # noqa: UP045  (typer reads the annotation at run time)
    typer.Option("--site", metavar="FILE", help="The site file (TOML). Without one no medicine is offered."),
]
PortOption = Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 takes any free one.")]


@app.command()
def serve(
    *,
    tenants: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--tenants", metavar="FILE", help="Who may ask (TOML): their keys, their EHR, their site file."),
    ] = None,
    site: SiteOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: PortOption = 8000,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="For development. Loopback only; without --tenants anybody is answered.")
    ] = False,
    fhir_server: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--fhir-server", metavar="URL", help="A FHIR base URL that may be read. May be repeated."),
    ] = None,
) -> None:
    """
    Answer CDS Hooks calls until SIGTERM, then finish what was begun.

    With --tenants each caller proves who it is, by a token that its EHR signs for each call. A change of that file, or
    of a file that it names, is taken up while the service runs. TLS is ended by a proxy in front.

    With --insecure and --site whoever calls is answered, on this machine only. What a call does not bring along is read
    from its fhirServer, if the site file or --fhir-server names that server.
    """
    if tenants is None and not insecure:
        _stop("Nobody may ask: name a tenants file with --tenants, or use --insecure on this machine only.")
    if tenants is not None and (site is not None or fhir_server):
        _stop("--tenants names the site files and the FHIR servers: leave out --site and --fhir-server.")
    if insecure and not _is_loopback(host):
        _stop(f"--insecure listens on loopback only: {host} could be reached from elsewhere.")
    from cds_service.events import Event, log_to, tell
    from cds_service.web.opening import opened_for, opened_to_all
    from cds_service.web.server import serve as listen

    settings = Settings.from_environment()
    if not insecure:
        settings.fit_for_production()
    if tenants is not None and port == 0 and settings.public_base_url is None:
        _stop("--port 0 with --tenants needs CDS_PUBLIC_BASE_URL: tokens are for an address that is known beforehand.")
    if tenants is not None:
        opening = opened_for(tenants, settings, _now, production=not insecure, here=f"http://{host}:{port}")
    else:
        opening = opened_to_all(_site(site), settings, _now, fhir_servers=tuple(fhir_server or ()))
    if insecure:
        typer.echo("For this machine only" + (": nobody has to say who they are." if tenants is None else "."))
    log_to(sys.stderr)
    mode = "development" if insecure else "production"
    tell(Event.STARTED, version=__version__, mode=mode, tenants=opening.tenants)
    shown = f"CDS Hooks at {settings.public_base_url or '{url}'}/cds-services"
    shared = opening.shared
    with opening.running() as app:
        listen(app, host, port, announce=shown, opened=_reached_at(shared.explanations), load=shared.load)


# The public CDS Hooks Sandbox calls services from the browser.
_SANDBOX: Final = "https://sandbox.cds-hooks.org"


@app.command()
def demo(
    host: Annotated[str, typer.Option(help="Address to listen on (loopback only).")] = "127.0.0.1",
    port: PortOption = 8000,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Show the service: a page that plays an EHR with eight invented women. Opens /demo."""
    if not _is_loopback(host):
        _stop(f"The demonstration listens on loopback only: {host} could be reached from elsewhere.")
    from cds_service.explanations import Explanations
    from cds_service.records import Records
    from cds_service.web.app import create_app
    from cds_service.web.demo import Demo, demo_site
    from cds_service.web.server import serve as listen

    explanations = Explanations.in_memory("")
    advisor = advisor_at(demo_site(), _now, explanations=explanations)
    if browser and port:
        Timer(1.0, webbrowser.open, (f"http://{host}:{port}/demo",)).start()
    app = create_app(advisor, demo=Demo(_now), records=Records.in_memory(), origins=(_SANDBOX,))
    listen(app, host, port, announce="Demonstration at {url}/demo  (Ctrl-C to stop)", opened=_reached_at(explanations))


@app.command()
def check(
    site: SiteOption = None,
    knowledge: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--knowledge", metavar="DIR", help="Another knowledge folder, with tables/ and value_sets/."),
    ] = None,
    cards: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--cards", metavar="DIR", help="Another folder of card wording."),
    ] = None,
    tenants: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--tenants", metavar="FILE", help="A tenants file, as production would read it."),
    ] = None,
    now: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="INSTANT", help="The time to check at, with its zone: is a review overdue by then?"),
    ] = None,
) -> None:
    """
    Check the knowledge, the cards, a site or tenants file. Names every defect in a line; exit 1 if there is one.

    A review that is overdue and a source that nobody cites are named, too, and are no defects.
    """
    from cds_service.checking import check_everything

    today = (_instant(now, "--now") if now is not None else _now()).date()
    report = check_everything(site, knowledge, cards, tenants, today=today)
    for line in report.lines:
        typer.echo(line)
    if report.defects:
        raise typer.Exit(1)


@app.command()
def evaluate(  # noqa: PLR0913  (typer makes an option of each)
    files: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Argument(metavar="FILE...", help="Requests with prefetch: JSON or NDJSON; - reads standard input."),
    ] = None,
    *,
    site: SiteOption = None,
    now: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="INSTANT", help="The time to think at, with its zone: 2026-11-23T12:00:00Z."),
    ] = None,
    as_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line, in input order.")] = False,
    discovery: Annotated[bool, typer.Option("--discovery", help="Print the discovery document and stop.")] = False,
    fhir_server: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--fhir-server", metavar="URL", help="Play the EHR: read the chart from this R4 server."),
    ] = None,
    patient: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="ID", help="Whose chart, with --fhir-server."),
    ] = None,
    hook: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The hook to fire, with --fhir-server. Without it: order-select."),
    ] = None,
    order: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="What is drafted at an order hook: delivery (without it), caesarean or esketamine."),
    ] = None,
    token_env: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--token-env", metavar="VAR", help="The environment variable with the FHIR server's token."),
    ] = None,
    service: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="URL", help="Fire at a service that runs there, and print its cards."),
    ] = None,
    save: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="DIR", help="Keep request.json and answer.json there. They hold the chart."),
    ] = None,
) -> None:
    """
    Explain what the service would say to each CDS Hooks request, and why.

    A request that cannot be read is named and the rest goes on; the exit code is then 1.

    With --fhir-server it plays an EHR: it reads one chart, drafts an order, fires the hook and explains the answer. The
    token goes to the FHIR server and nowhere else.
    """
    from cds_service.hooks.strict_json import write_json

    instant = _instant(now, "--now") if now is not None else None
    clock = (lambda: instant) if instant else _now
    if fhir_server is not None:
        if files or discovery:
            _stop("--fhir-server makes the request itself: leave out the files and --discovery.")
        if service is not None and site is not None:
            _stop("--service answers by its own site file: leave out --site.")
        played = _Played(fhir_server, patient, hook, order, token_env, service, save)
        _rehearse(played, clock, lambda: advisor_at(_site(site), clock, forgiven=NOT_MARKETED), as_lines=as_lines)
        return
    alone = {
        "--patient": patient, "--hook": hook, "--order": order, "--token-env": token_env, "--service": service,
        "--save": save,
    }  # fmt: skip
    if lonely := [name for name, given in alone.items() if given is not None]:
        _stop(f"{lonely[0]} needs --fhir-server.")
    advisor = advisor_at(_site(site), clock, forgiven=NOT_MARKETED)
    if discovery:
        typer.echo(write_json(advisor.discovery()).decode())
        return
    if not files:
        _stop("Name at least one file of requests, or - for standard input.")
    from cds_service.batch import evaluate as answer_all
    from cds_service.batch import read_requests

    try:
        with _progress(files) as went:
            failed = answer_all(read_requests(files), advisor, as_lines=as_lines, tell=typer.echo, went=went)
    except RequestUnreadable as error:
        _stop(str(error))
    if failed:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Played:
    """What was said on the command line about the EHR that `evaluate --fhir-server` plays."""

    fhir_server: str
    patient: str | None
    hook: str | None
    order: str | None
    token_env: str | None
    service: str | None
    save: Path | None


# As an integrator names them: the orders that the demonstration can draft, too.
_ORDERS: Final = {"delivery": "vaginal-delivery", "caesarean": "caesarean", "esketamine": "esketamine"}


def _rehearse(
    played: _Played, clock: Callable[[], datetime], advisor_here: Callable[[], Advisor], *, as_lines: bool
) -> None:
    """One call as an EHR makes it, and what comes back. Whatever goes wrong is one line."""
    from cds_service.rehearsal import ORDER_HOOKS, Desk, Scene, Stage, rehearse
    from cds_service.web.played_ehr import draftable_orders

    if played.patient is None:
        _stop("--fhir-server needs --patient: whose chart is it?")
    hook = played.hook or "order-select"
    if played.order is not None and hook not in ORDER_HOOKS:
        _stop(f"--order is drafted at {' and '.join(ORDER_HOOKS)} only.")
    if (order := played.order or "delivery") not in _ORDERS:
        _stop(f"--order is none of {', '.join(_ORDERS)}.")
    draft = draftable_orders()[_ORDERS[order]] if hook in ORDER_HOOKS else None
    token = os.environ.get(played.token_env) if played.token_env is not None else None
    if played.token_env is not None and not token:
        _stop("--token-env: there is no environment variable of that name, or it is empty.")
    try:
        scene = Scene.of(hook, played.patient, clock(), draft)
        stage = Stage(played.fhir_server, token)
        answering = _Here(advisor_here()) if played.service is None else Desk(played.service)
        response = rehearse(scene, stage, answering, played.save)
    except (RequestUnreadable, ServiceUnknown, ChartUnavailable) as refused:
        _stop(str(refused))
    if response.error is not None:
        _stop(response.error)
    typer.echo(response.line if as_lines else response.text)


@dataclass(frozen=True, slots=True)
class _Here:
    """The service in this very process, which also says why."""

    advisor: Advisor

    def discovery(self) -> Any:
        return self.advisor.discovery()

    def respond(self, service_id: str, request: bytes) -> Response:  # noqa: ARG002  (the hook says which service)
        from cds_service.batch import Asked, explain
        from cds_service.hooks.strict_json import write_json
        from cds_service.rehearsal import Response

        told = explain(Asked("rehearsal", len(request), request), self.advisor)
        return Response(write_json(told.answer), write_json(told.line).decode(), told.text, told.error)


@app.command()
def manual(
    site: SiteOption = None,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where the pages go.")] = Path("manual"),
) -> None:
    """
    Write worked cases as pages that clinicians can read: who she is, what is decided and why, and the cards.

    With --site they are answered as that hospital would be. A browser shows the pages, and prints them.
    """
    from cds_service.manual import write_manual

    try:
        begins = write_manual(output, _site(site) if site is not None else None)
    except OSError as error:
        _stop(f"{output}: {error.strerror}")
    typer.echo(f"The manual begins at {begins}")


knowledge = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(knowledge, name="knowledge", help="The knowledge: what has changed from one folder to another.")


@knowledge.command("diff")
def knowledge_diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A knowledge folder, with tables/ and value_sets/.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another.")],
    cards: Annotated[
        Optional[tuple[Path, Path]],  # noqa: UP045
        typer.Option("--cards", metavar="OLD NEW", help="Two folders of card wording, to be compared as well."),
    ] = None,
) -> None:
    """
    Say in a reviewer's words what has changed, and mark what makes a rule less strict with [loosens].

    As with diff, the exit code is 0 when nothing has changed, 1 when something has, 2 when a folder cannot be read.
    """
    from cds_service.differing import difference

    try:
        found = difference(old, new, cards)
    except (KnowledgeUnfit, OSError) as unfit:
        for line in unfit.defects if isinstance(unfit, KnowledgeUnfit) else [f"{unfit.filename}: {unfit.strerror}"]:
            typer.echo(line, err=True)
        raise typer.Exit(2) from None
    for line in found.lines:
        typer.echo(line)
    if found.changes or found.old != found.new:
        raise typer.Exit(1)


# --- the records ----------------------------------------------------------------------------------

audit = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(audit, name="audit", help="The audit trail: verify it, hand it out, remove what is old enough.")


@audit.command("verify")
def audit_verify(
    head: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="N:HASH", help="The head that was printed earlier: is that row still there?"),
    ] = None,
) -> None:
    """Check that each row is as it was written, and where it was. Names the first that is not; exit 1."""
    from cds_service.bookkeeping import verify
    from cds_service.records import Head

    try:
        earlier = Head.of(head) if head is not None else None
    except ValueError as error:
        _stop(f"--head: {error}.")
    with _store():
        report = verify(Settings.from_environment(), earlier)
    _told(report)


@audit.command("export")
def audit_export(
    format_: Annotated[
        str, typer.Option("--format", metavar="ndjson|fhir", help="JSON lines, or FHIR R4 AuditEvents, one a line.")
    ] = "ndjson",
    since: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="INSTANT", help="Only what was advised from then on: 2026-11-23T12:00:00Z."),
    ] = None,
) -> None:
    """Print the audit trail, a row a line. Patients and users are pseudonyms."""
    from cds_service.bookkeeping import FORMATS, export

    if format_ not in FORMATS:
        _stop(f"--format is none of {', '.join(FORMATS)}.")
    earliest = _instant(since, "--since") if since is not None else None
    with _store():
        for line in export(Settings.from_environment(), format_, earliest):
            typer.echo(line)


@audit.command("prune")
def audit_prune(
    older_than: Annotated[str, typer.Option("--older-than", metavar="DAYS", help="How long rows stay: 180d.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove audit and feedback rows that are older, and tokens that have expired. Says how many of each."""
    from cds_service.bookkeeping import days, prune

    if (age := days(older_than)) is None:
        _stop("--older-than: not a number of days, such as 180d.")
    if not yes:
        typer.confirm(f"Remove what is older than {age.days} days? It cannot be had back", abort=True)
    with _store():
        report = prune(Settings.from_environment(), age, _now())
    _told(report)


@contextmanager
def _store() -> Iterator[None]:
    """A database that cannot be had is one line."""
    try:
        yield
    except StoreUnavailable as unavailable:
        _stop(f"CDS_DATABASE: {unavailable}.")


def _told(report: Books) -> None:
    if report.fault is not None:
        _stop(report.fault)
    for line in report.lines:
        typer.echo(line)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def _site(path: Path | None) -> Site:
    return DEFAULT_SITE if path is None else Site.from_file(path)


def _reached_at(explanations: Explanations | None) -> Callable[[str], None]:
    """Links lead to the public address; without one, to where the service listens."""

    def opened(url: str) -> None:
        if explanations is not None:
            explanations.base = explanations.base or url

    return opened


def _now() -> datetime:
    return datetime.now(UTC)


def _instant(text: str, option: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        _stop(f"{option} {text}: not an instant with a zone, such as 2026-11-23T12:00:00Z.")
    return instant


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _progress(files: list[Path]) -> Iterator[Callable[[int], None]]:
    """A progress bar by bytes on a terminal; nothing elsewhere, and nothing when the answers go to the terminal."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    sizes = [path.stat().st_size if path.is_file() else None for path in files]
    total = sum(s for s in sizes if s is not None) if None not in sizes else None
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("Evaluating", total=total)
        yield lambda size: bar.advance(task, size)


def _stop(line: str) -> NoReturn:
    typer.echo(line, err=True)
    raise typer.Exit(1)


def main() -> None:
    """One plain line for each thing that is wrong, and never a stack trace for a file of the user's."""
    try:
        app()
    except (KnowledgeUnfit, SiteUnfit) as unfit:
        for defect in unfit.defects:
            typer.echo(defect, err=True)
        raise SystemExit(1) from None
    except Exception as error:  # its text, and a traceback with it, may quote a chart
        typer.echo(f"unexpected {type(error).__name__} at {place_of(error)}", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
