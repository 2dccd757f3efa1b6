"""The command line: run the service, check what it knows, explain what it would say, or show it to a newcomer."""

from __future__ import annotations

import ipaddress
import os
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, Optional, cast

import typer

from cds_service import __version__
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
from cds_service.settings import DEFAULT_LANGUAGE, DEFAULT_SITE, Settings, Site
from cds_service.starting import advisor_at

if TYPE_CHECKING:
    from cds_service.bookkeeping import Books

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
    from cds_service.telemetry import fit_to_trace, tracing
    from cds_service.web.opening import opening_for, opening_to_all
    from cds_service.web.server import listen, url_of
    from cds_service.web.server import serve as answer

    settings = Settings.from_environment()
    if not insecure:
        settings.fit_for_production()
    fit_to_trace(os.environ)
    if tenants is not None and port == 0 and settings.public_base_url is None:
        _stop("--port 0 with --tenants needs CDS_PUBLIC_BASE_URL: tokens are for an address that is known beforehand.")
    if tenants is not None:
        opening = opening_for(tenants, settings, _now, production=not insecure)
    else:
        opening = opening_to_all(_site(site), settings, _now, fhir_servers=tuple(fhir_server or ()))
    # Whatever has refused the start so far has changed nothing. The stores are opened last.
    with ExitStack() as until_left:
        listening = until_left.enter_context(listen(host, port))
        until_left.callback(log_to(sys.stderr))
        opened = until_left.enter_context(opening(url_of(host, listening)))
        traced = until_left.enter_context(tracing(os.environ))
        if insecure:
            typer.echo("For this machine only" + (": nobody has to say who they are." if tenants is None else "."))
        mode = "development" if insecure else "production"
        tell(Event.STARTED, version=__version__, mode=mode, tenants=opened.tenants)
        answer(
            traced(opened.app),
            host,
            port,
            announce=f"CDS Hooks at {settings.public_base_url or '{url}'}/cds-services",
            listening=listening,
            hung_up=opened.look_soon,
            load=opened.shared.load,
        )


# The public CDS Hooks Sandbox calls services from the browser.
_SANDBOX: Final = "https://sandbox.cds-hooks.org"


@app.command()
def demo(
    host: Annotated[str, typer.Option(help="Address to listen on (loopback only).")] = "127.0.0.1",
    port: PortOption = 8000,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    language: Annotated[str, typer.Option(metavar="CODE", help="Of the cards, such as es.")] = DEFAULT_LANGUAGE,
) -> None:
    """Show the service: a page that plays an EHR with eight invented women. Opens /demo."""
    if not _is_loopback(host):
        _stop(f"The demonstration listens on loopback only: {host} could be reached from elsewhere.")
    from cds_service.explanations import Explanations
    from cds_service.records import Pseudonyms, Records
    from cds_service.records.memory import Memory
    from cds_service.settings import Terms
    from cds_service.web.app import create_app
    from cds_service.web.demo import Demo, demo_site
    from cds_service.web.server import listen, url_of
    from cds_service.web.server import serve as answer

    explanations, records = Explanations.in_memory(""), Records.in_memory()
    memory = Memory(records.trail, Pseudonyms(os.urandom(32)), Terms())
    advisor = advisor_at(demo_site(language), _now, explanations=explanations, memory=memory)
    with listen(host, port) as listening:
        explanations.base = url = url_of(host, listening)
        if browser:
            Timer(1.0, webbrowser.open, (f"{url}/demo",)).start()
        app = create_app(advisor, demo=Demo(_now), records=records, origins=(_SANDBOX,))
        answer(app, host, port, announce="Demonstration at {url}/demo  (Ctrl-C to stop)", listening=listening)


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

    for option, folder in (("--knowledge", knowledge), ("--cards", cards)):
        if folder is not None and not folder.is_dir():
            _stop(f"{option} {folder}: no such folder.")
    today = (_instant(now, "--now") if now is not None else _now()).date()
    report = check_everything(site, knowledge, cards, tenants, today=today)
    for line in report.lines:
        typer.echo(line)
    if report.defects:
        raise typer.Exit(1)


@app.command()
def doctor(  # noqa: PLR0913  (typer makes an option of each)
    *,
    tenants: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--tenants", metavar="FILE", help="The tenants file, as `serve` would read it."),
    ] = None,
    site: SiteOption = None,
    host: Annotated[str, typer.Option(help="Address that `serve` would listen on.")] = "127.0.0.1",
    port: PortOption = 8000,
    insecure: Annotated[bool, typer.Option("--insecure", help="As `serve --insecure`: for development.")] = False,
    url: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="URL", help="Where the EHR calls the running service: is it the address of its tokens?"),
    ] = None,
    fhir_server: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--fhir-server", metavar="URL", help="The EHR's FHIR server: is it R4, and is its clock right?"),
    ] = None,
    patient: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="ID", help="A test patient there: each prefetch search is tried on her chart."),
    ] = None,
    token_env: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--token-env", metavar="VAR", help="The environment variable with the FHIR server's token."),
    ] = None,
    now: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="INSTANT", help="The time to look at, with its zone, in place of this machine's clock."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """
    Look for what integrators usually get wrong, and say in a line each how it is mended.

    It reads what `serve` would read: the files that are named, the environment, the database. It calls the EHR's
    addresses as the service would. It changes nothing, and makes no file.

    The exit code is 0 when nothing failed, 1 when something did, 2 when it could not begin.
    """
    from cds_service.doctor import Setup, examine
    from cds_service.ehr.servers import Server
    from cds_service.hooks.strict_json import write_json
    from cds_service.playing import token_in
    from cds_service.rehearsal import Scene, Stage

    if tenants is not None and site is not None:
        _stop("--tenants names the site files: leave out --site.", code=2)
    for option, given in (("--patient", patient), ("--token-env", token_env)):
        if given is not None and fhir_server is None:
            _stop(f"{option} needs --fhir-server.", code=2)
    if url is not None and Server.at(url) is None:
        _stop("--url is not an http or https base URL: scheme, host, port and path alone.", code=2)
    instant = _instant(now, "--now", code=2) if now is not None else None
    clock = (lambda: instant) if instant else _now
    try:
        token = token_in(os.environ, token_env)
        if fhir_server is not None:
            Stage(fhir_server, token)  # may a chart be read there, with that token?
        if patient is not None:
            Scene.of("patient-view", patient, instant or _now())
    except RequestUnreadable as refused:
        _stop(str(refused), code=2)
    found = examine(Setup(os.environ, clock, site, tenants, insecure, host, port, url, fhir_server, patient, token))
    if as_json:
        typer.echo(write_json(found.as_json).decode())
    else:
        typer.echo("\n".join(found.lines))
    if found.failed:
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
        from cds_service.playing import Played, play

        played = Played(fhir_server, patient, hook, order, token_env, service, save)
        try:
            response = play(played, clock, lambda: advisor_at(_site(site), clock, forgiven=NOT_MARKETED), os.environ)
        except (RequestUnreadable, ServiceUnknown, ChartUnavailable) as refused:
            _stop(str(refused))
        typer.echo(response.line if as_lines else response.text)
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
    from cds_service.batch import progress, read_requests

    try:
        with progress(files) as went:
            failed = answer_all(read_requests(files), advisor, as_lines=as_lines, tell=typer.echo, went=went)
    except RequestUnreadable as error:
        _stop(str(error))
    if failed:
        raise typer.Exit(1)


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

    if output.exists() and not output.is_dir():
        _stop(f"{output}: not a folder.")
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


def _now() -> datetime:
    return datetime.now(UTC)


# Around anything else no weeks could be counted: the calendar of this program ends with the years 1 and 9999.
_YEARS: Final = range(1900, 2200)


def _instant(text: str, option: str, code: int = 1) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        _stop(f"{option} {text}: not an instant with a zone, such as 2026-11-23T12:00:00Z.", code)
    if instant.year not in _YEARS:
        _stop(f"{option} {text}: not within the years {_YEARS[0]} to {_YEARS[-1]}.", code)
    return instant


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _in_a_line(wrong: Any) -> str:
    """What is wrong with what was typed, and where to read on; without any command, the help itself."""
    told, where = str(wrong.format_message()), getattr(wrong.ctx, "command_path", "cds-service")
    if "\n" in told:
        return told
    return f"{told}{'' if told.endswith(('.', '?')) else '.'} See: {where} --help"


def _stop(line: str, code: int = 1) -> NoReturn:
    typer.echo(line, err=True)
    raise typer.Exit(code)


# What click raises for an option that is none. Some versions of typer have a click of their own.
_WrongUse: Final = cast("type[Exception]", typer.BadParameter.__mro__[1])


def main() -> None:
    """One plain line for each thing that is wrong, and never a stack trace for a file of the user's."""
    try:
        raise SystemExit(app(standalone_mode=False, prog_name="cds-service"))
    except (KnowledgeUnfit, SiteUnfit) as unfit:
        for defect in unfit.defects:
            typer.echo(defect, err=True)
        raise SystemExit(1) from None
    except _WrongUse as wrong:
        typer.echo(_in_a_line(wrong), err=True)
        raise SystemExit(2) from None
    except typer.Abort:
        typer.echo("Nothing was done.", err=True)
        raise SystemExit(1) from None
    except Exception as error:  # its text, and a traceback with it, may quote a chart
        typer.echo(f"unexpected {type(error).__name__} at {place_of(error)}", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
