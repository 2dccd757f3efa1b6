"""A change of the tenants file is taken up while calls go on, and a bad one changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, EnvironBuilder
from werkzeug.wrappers import Response

from cds_service.errors import SiteUnfit
from cds_service.events import Event, listen
from cds_service.web.reloading import Built, Reloading


class Files:
    """A file that says what the application answers; "bad" makes it unfit, "broken" breaks the building of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tenants.toml"
        self.beside = folder / "site.toml"
        self.path.write_text("first")
        self.built = 0

    def build(self) -> Built:
        self.built += 1
        said = self.path.read_text()
        if said == "bad":
            raise SiteUnfit("one", "two")
        if said == "broken":
            raise RuntimeError(said)

        def app(_environ: Any, start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", [])
            return [said.encode()]

        return Built(app, 3, (self.path, self.beside))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def told() -> Iterable[list[tuple[Event, dict[str, Any]]]]:
    heard: list[tuple[Event, dict[str, Any]]] = []
    stop = listen(lambda event, fields: heard.append((event, dict(fields))))
    yield heard
    stop()


def answer(app: Reloading) -> str:
    return Client(app, Response).get("/").get_data(as_text=True)


def test_nothing_is_built_again_while_nothing_changes(files: Files) -> None:
    app = Reloading(files.build)

    assert [app.look(), app.look()] == [False, False]
    assert (files.built, answer(app)) == (1, "first")


def test_a_change_is_taken_up(files: Files, told: list[tuple[Event, dict[str, Any]]]) -> None:
    app = Reloading(files.build)
    files.path.write_text("second")

    assert answer(app) == "first", "until somebody looks"
    assert app.look()
    assert answer(app) == "second"
    ((event, fields),) = told
    assert (event, fields["count"]) == (Event.TENANTS_RELOADED, 3)


def test_a_file_beside_it_counts_too_from_the_moment_it_appears(files: Files) -> None:
    app = Reloading(files.build)
    files.beside.write_text("x")

    assert app.look()
    files.beside.write_text("y")
    assert app.look()
    files.beside.unlink()
    assert app.look()
    assert files.built == 4


@pytest.mark.parametrize(
    ("content", "event"), [("bad", Event.TENANTS_KEPT), ("broken", Event.UNEXPECTED), (None, Event.UNEXPECTED)]
)
def test_a_bad_file_leaves_the_old_one_in_force_and_is_told_of_once(
    files: Files, told: list[tuple[Event, dict[str, Any]]], content: str | None, event: Event
) -> None:
    app = Reloading(files.build)
    if content is None:
        files.path.unlink()
    else:
        files.path.write_text(content)

    assert [app.look(), app.look()] == [False, False]
    assert answer(app) == "first"
    assert [heard for heard, _ in told] == [event]

    files.path.write_text("mended")
    assert app.look()
    assert answer(app) == "mended"


def test_going_back_to_what_was_in_force_after_a_bad_file_is_a_change_as_well(files: Files) -> None:
    app = Reloading(files.build)
    files.path.write_text("bad")
    app.look()
    files.path.write_text("first")

    assert app.look()
    assert answer(app) == "first"


def test_at_start_a_bad_file_is_refused(files: Files) -> None:
    files.path.write_text("bad")

    with pytest.raises(SiteUnfit):
        Reloading(files.build)


def test_it_looks_by_itself_until_it_is_left(files: Files) -> None:
    app = Reloading(files.build)
    looked = threading.Event()

    def look() -> bool:
        looked.set()
        return False

    app.look = look  # type: ignore[method-assign]
    with app.watching(every_seconds=0.001):
        assert looked.wait(10)
    assert "tenants" not in {thread.name for thread in threading.enumerate()}


def test_a_call_that_has_begun_is_ended_by_the_application_that_began_it(files: Files) -> None:
    app = Reloading(files.build)
    begun = app(EnvironBuilder("/").get_environ(), lambda *_: None)  # type: ignore[arg-type]
    files.path.write_text("second")
    app.look()

    assert b"".join(begun) == b"first"
