"""Every command that a page tells people to type is typed here and prints what it shows; or it is said why not."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import click
import pytest
import typer.main
from conftest import NOON
from pages import ENVIRONMENT, PYTHON, ROOT, SHELL, Block, Machine, blocks, copy_checkout, environment_in, inline, pages
from postgres import postgres
from warm import CLIENT, warm

from cds_service.__main__ import app
from cds_service.clinical.consultation import Encountered
from cds_service.records import Head, Pseudonyms, Records
from cds_service.records.memory import Memory
from cds_service.settings import Site, Terms
from cds_service.tenants import TenantsFile

# What is not run, by how it begins, and why. A line that is on no page any more fails.
NOT_RUN: Final = {
    "make demo\n": "opens a browser and stays; what it starts is started by the page about the Sandbox",
    "make demo ": "the same, and `make test` is what runs this",
    "python3 -m venv .venv\n": "makes the environment in which this runs: the build script does, from nothing",
    ".venv/bin/pip install ": "fetches packages that are in the environment of the tests already",
    "pg_dump ": "typed by tests/deploy/test_postgresql_backup.py, where PostgreSQL's own tools are",
    "python3 -m venv /opt/": "changes the machine: systemd",
    "cd /var/lib/cds-service": "the same",
    "docker ": "no Docker engine",
    "kubectl ": "no cluster",
    ".venv/bin/python benchmarks/sensitivity\n": "takes minutes; its own test tries it on few women",
    "git clone . ../mutation": "changes the code in hundreds of places and takes minutes",
}
# The README says of its first table: save it as site.toml.
SITE: Final = next(block.text for block in blocks("README.md") if block.language == "toml")
DATABASE: Final = "cds-service.sqlite3"


TYPED: Final = re.compile(
    r"^\s*(?:\$ |\.venv/bin/|make |curl |pip |python3? |cds-service |docker |kubectl |helm |git |npm )"
)


def why_not(block: Block) -> str | None:
    return next((why for begin, why in NOT_RUN.items() if block.text.startswith(begin)), None)


def told(page: str) -> tuple[Block, ...]:
    """What is run of a page."""
    return tuple(one for one in blocks(page) if one.language in SHELL | PYTHON and why_not(one) is None)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def quick(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The real environment, but that its program is imported once for all pages, and not once for each command."""
    folder = tmp_path_factory.mktemp("quick")
    environment, place = environment_in(folder), folder / "warm"
    program = environment / "bin" / "cds-service"
    program.unlink()
    program.write_text(CLIENT.format(python=sys.executable, place=str(place)))
    program.chmod(0o755)
    with warm(checkout, place):
        yield environment


@pytest.fixture(scope="module")
def new_database() -> Iterator[Callable[[], str]]:
    with postgres() as new:
        yield new


def advised(folder: Path, times: int = 3) -> Head:
    """A service has been at work here, with calls about which it had nothing to say. The head of what it wrote down."""
    with closing(Records.at(str(folder / DATABASE))) as records:
        memory = Memory(records.trail, Pseudonyms(b"k" * 32), Terms())
        for number in range(times):
            who = Encountered(
                "ppd-admission", "encounter-start", f"call-{number}", "Patient/anna", None, "Practitioner/1"
            )
            memory.remember(who, "nothing", None, (), "sha256:0", NOON)
        return records.trail.verify().head


@pytest.mark.parametrize("page", [page for page in pages() if told(page)])
def test_the_commands_of_a_page_do_what_it_says(
    page: str, tmp_path: Path, checkout: Path, quick: Path, request: pytest.FixtureRequest
) -> None:
    typed = told(page)
    changes_it = any("sed -i" in block.text for block in typed)
    environment = ENVIRONMENT if changes_it or page == "README.md" else quick
    machine = Machine(tmp_path, checkout, environment, changes_it=changes_it)
    changed: dict[str, str] = {}  # what only the reader knows
    if page == "README.md":
        (tmp_path / "site.toml").write_text(SITE)
    if any("audit export" in block.text for block in typed):
        changed = {"NUMBER:HASH": str(advised(tmp_path)), "2200d ": "2200d <<<y "}
    if any("postgresql://" in block.text for block in typed):
        changed["postgresql://cds:choose-one@db.example.org/cds"] = request.getfixturevalue("new_database")()

    machine.run(page, typed, changed)


@pytest.mark.parametrize(
    ("text", "shown", "complaint"),
    [
        ("echo good morning", ("good night",), "the page shows"),
        ("test -e nowhere", (), "exit code 1"),
        ("true    # exit code 1", (), "exit code 0, not 1"),
        ("ls /etc/", (), "not to be run here"),
        ("pip install something", (), "not to be run here"),
    ],
)
def test_a_command_that_does_something_else_is_found(
    text: str, shown: tuple[str, ...], complaint: str, tmp_path: Path
) -> None:
    (tmp_path / "checkout").mkdir()
    (tmp_path / "page").mkdir()
    machine = Machine(tmp_path / "page", tmp_path / "checkout", ENVIRONMENT, changes_it=False)

    with pytest.raises(AssertionError, match=complaint):
        machine.run("page.md", (Block("page.md", 1, "sh", f"{text}\n", shown),), {})


def test_every_file_that_a_page_shows_would_be_taken(tmp_path: Path) -> None:
    """A site file, a tenants file, or a part of one; or what stands in a table of ours just so."""
    tables = [path.read_text(encoding="utf-8") for path in (ROOT / "cards").rglob("*.toml")]
    shown = [block for page in pages() for block in blocks(page) if block.language == "toml"]

    for block in shown:
        table = tomllib.loads(block.text)
        if any(block.text in text for text in tables):
            continue
        if "tenant" in table:
            for name in {one["site"] for one in table["tenant"]}:
                (tmp_path / name).write_text('country = "CN"')
            (tmp_path / "tenants.toml").write_text(block.text)
            assert TenantsFile.from_file(tmp_path / "tenants.toml", production=True).tenants, block.place
        else:
            text = block.text.replace("sha256:…", f"sha256:{'0' * 64}")
            assert Site.from_table({"country": "CN"} | tomllib.loads(text)), block.place
    assert len(shown) >= 8


def test_what_is_not_run_is_on_a_page_still() -> None:
    shown = [block.text for page in pages() for block in blocks(page) if block.language in SHELL]

    assert [begin for begin in NOT_RUN if not any(text.startswith(begin) for text in shown)] == []


def test_no_command_hides_in_a_block_that_is_not_run() -> None:
    hidden = [
        block.place
        for page in pages()
        for block in blocks(page)
        if block.language not in SHELL | PYTHON | {"yaml"} and TYPED.match(block.text) and "[OPTIONS]" not in block.text
        if not re.match(r"cds-service [a-z ]+\n$", block.text)
    ]

    assert hidden == []


def test_every_command_within_a_sentence_is_there() -> None:
    for page in pages():
        for words in inline(page):
            if (found := re.match(r"(?:\.venv/bin/)?cds-service (?=[a-z-])(.*)", words)) is not None:
                command, left = _command(found[1].split())
                options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
                unknown = [word for word in left if word.startswith("--") and word not in {*options, "--help"}]
                assert not unknown, f"{page}: {words}"
                assert not isinstance(command, click.Group) or not left, f"{page}: {words}"


def _command(words: list[str]) -> tuple[click.Command, list[str]]:
    command = typer.main.get_command(app)
    while words and (inner := getattr(command, "commands", {}).get(words[0])) is not None:
        command, words = inner, words[1:]
    return command, words


def test_every_target_of_make_that_is_named_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {word for page in pages() for text in inline(page) if text.startswith("make ") for word in text.split()[1:]}

    assert {word for word in named if "=" not in word} <= targets
