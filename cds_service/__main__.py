"""The command line: run the service, check what it knows, explain what it would say, or show it to a newcomer."""

from __future__ import annotations

import ipaddress
import sys
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Timer
from typing import Annotated, NoReturn, Optional

import typer

from cds_service import __version__
from cds_service.advisor import Advisor
from cds_service.clinical.approval import NOT_MARKETED, ceiling_defects, defects
from cds_service.errors import KnowledgeUnfit, RequestUnreadable, SiteUnfit
from cds_service.knowledge import load_knowledge
from cds_service.rendering.wording import load_wording
from cds_service.settings import DEFAULT_SITE, Settings, Site

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
    site: SiteOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: PortOption = 8000,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Answer callers without authentication. Loopback addresses only.")
    ] = False,
    fhir_server: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--fhir-server", metavar="URL", help="A FHIR base URL that may be read. May be repeated."),
    ] = None,
) -> None:
    """
    Answer CDS Hooks calls until SIGTERM, then finish what was begun.

    Callers cannot be configured yet, so this needs --insecure. --fhir-server is checked and kept; this version reads
    charts from prefetch alone.
    """
    if not insecure:
        _stop("No callers are configured, and this version cannot verify any. Use --insecure on this machine only.")
    if not _is_loopback(host):
        _stop(f"--insecure listens on loopback only: {host} could be reached from elsewhere.")
    for url in fhir_server or []:
        if not url.startswith(("http://", "https://")):
            _stop(f"--fhir-server {url}: not an http or https URL.")
    from cds_service.web.app import create_app
    from cds_service.web.server import serve as listen

    advisor = _advisor(_site(site), _now)
    public = Settings.from_environment().public_base_url
    typer.echo("Without authentication: for this machine only.")
    listen(create_app(advisor), host, port, announce=f"CDS Hooks at {public or '{url}'}/cds-services")


@app.command()
def demo(
    host: Annotated[str, typer.Option(help="Address to listen on (loopback only).")] = "127.0.0.1",
    port: PortOption = 8000,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Show the service: a page that plays an EHR with eight invented women. Opens /demo."""
    if not _is_loopback(host):
        _stop(f"The demonstration listens on loopback only: {host} could be reached from elsewhere.")
    from cds_service.web.app import create_app
    from cds_service.web.demo import Demo, demo_site
    from cds_service.web.server import serve as listen

    advisor = _advisor(demo_site(), _now)
    if browser and port:
        Timer(1.0, webbrowser.open, (f"http://{host}:{port}/demo",)).start()
    listen(create_app(advisor, demo=Demo(_now)), host, port, announce="Demonstration at {url}/demo  (Ctrl-C to stop)")


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
) -> None:
    """Check the knowledge, the cards and a site file. Names every defect in a line; exit 1 if there is one."""
    from cds_service.checking import check_everything

    report = check_everything(site, knowledge, cards)
    for line in report.lines:
        typer.echo(line)
    if report.defects:
        raise typer.Exit(1)


@app.command()
def evaluate(
    files: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Argument(metavar="FILE...", help="Requests with prefetch: JSON or NDJSON; - reads standard input."),
    ] = None,
    site: SiteOption = None,
    now: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="INSTANT", help="The time to think at, with its zone: 2026-11-23T12:00:00Z."),
    ] = None,
    as_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line, in input order.")] = False,
    discovery: Annotated[bool, typer.Option("--discovery", help="Print the discovery document and stop.")] = False,
) -> None:
    """
    Explain what the service would say to each CDS Hooks request, and why.

    A request that cannot be read is named and the rest goes on; the exit code is then 1.
    """
    from cds_service.hooks.strict_json import write_json

    instant = _instant(now) if now is not None else None
    clock = (lambda: instant) if instant else _now
    advisor = _advisor(_site(site), clock, forgiven=NOT_MARKETED)
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


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def _site(path: Path | None) -> Site:
    return DEFAULT_SITE if path is None else Site.from_file(path)


def _advisor(site: Site, clock: Callable[[], datetime], *, forgiven: str | None = None) -> Advisor:
    """The advisor of this site. Raises KnowledgeUnfit or SiteUnfit: refused at start, never at the bedside."""
    knowledge = load_knowledge(expansions=site.terminology)
    if unfit := list(ceiling_defects(knowledge)):
        raise KnowledgeUnfit(*unfit)
    if unfit := [line for line in defects(site, knowledge) if forgiven is None or forgiven not in line]:
        raise SiteUnfit(*unfit)
    return Advisor(knowledge, load_wording(knowledge=knowledge), site, clock)


def _now() -> datetime:
    return datetime.now(UTC)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        _stop(f"--now {text}: not an instant with a zone, such as 2026-11-23T12:00:00Z.")
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


if __name__ == "__main__":
    main()
