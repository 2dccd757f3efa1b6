"""A change of the tenants file is taken up while calls go on, and a bad one changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, EnvironBuilder
from werkzeug.wrappers import Response

from cds_service.errors import SiteUnfit
from cds_service.events import Event, listen
from cds_service.web.reloading import KEPT_BACK, Built, Reloading


class Files:
    """
    A file that says what the application answers; "bad" makes it unfit, "broken" breaks the building of it.

    "names <file>" names another, in which the same may stand. `meanwhile` happens once it has been read.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tenants.toml"
        self.beside = folder / "site.toml"
        self.path.write_text("first")
        self.built = 0
        self.meanwhile: Callable[[], object] = lambda: None

    def build(self) -> Built:
        self.built += 1
        said = self.path.read_text()
        named = [self.path.with_name(said.split()[1])] if said.startswith("names ") else []
        said = " ".join([said, *(path.read_text() for path in named)])
        self.meanwhile()
        if "bad" in said:
            raise SiteUnfit("one", *said.split("bad")[1:])
        if "broken" in said:
            raise RuntimeError(said)

        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", [("Kept-Back", str(environ[KEPT_BACK]))])
            return [said.encode()]

        return Built(app, 3, (self.path, self.beside, *named))

    def served(self) -> Reloading:
        """It is known what will be read."""
        return Reloading(self.build, (self.path, self.beside))


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
    app = files.served()

    assert [app.look(), app.look()] == [False, False]
    assert (files.built, answer(app)) == (1, "first")


def test_a_change_is_taken_up(files: Files, told: list[tuple[Event, dict[str, Any]]]) -> None:
    app = files.served()
    files.path.write_text("second")

    assert answer(app) == "first", "until somebody looks"
    assert app.look()
    assert answer(app) == "second"
    ((event, fields),) = told
    assert (event, fields["count"]) == (Event.TENANTS_RELOADED, 3)


def test_a_file_beside_it_counts_too_from_the_moment_it_appears(files: Files) -> None:
    app = files.served()
    files.beside.write_text("x")

    assert app.look()
    files.beside.write_text("y")
    assert app.look()
    files.beside.unlink()
    assert app.look()
    assert files.built == 4


@pytest.mark.parametrize(
    ("content", "events"),
    [
        ("bad", [Event.TENANTS_KEPT]),
        ("broken", [Event.UNEXPECTED, Event.TENANTS_KEPT]),
        (None, [Event.UNEXPECTED, Event.TENANTS_KEPT]),
    ],
)
def test_a_bad_file_leaves_the_old_one_in_force_and_is_told_of_once(
    files: Files, told: list[tuple[Event, dict[str, Any]]], content: str | None, events: list[Event]
) -> None:
    app = files.served()
    if content is None:
        files.path.unlink()
    else:
        files.path.write_text(content)

    assert [app.look(), app.look()] == [False, False]
    assert answer(app) == "first"
    assert [heard for heard, _ in told] == events

    files.path.write_text("mended")
    assert app.look()
    assert answer(app) == "mended"


def test_going_back_to_what_was_in_force_after_a_bad_file_is_a_change_as_well(files: Files) -> None:
    app = files.served()
    files.path.write_text("bad")
    app.look()
    files.path.write_text("first")

    assert app.look()
    assert answer(app) == "first"


def test_it_is_told_again_when_something_else_is_wrong(files: Files, told: list[tuple[Event, dict[str, Any]]]) -> None:
    app = files.served()
    for content in ("bad", "bad ", "bad this", "bad that", "broken", "first", "bad"):
        files.path.write_text(content)
        app.look()
        app.look()

    kept = [fields.get("defects") for event, fields in told if event is Event.TENANTS_KEPT]
    assert kept == [2, 2, 2, 2, None, 2]


def test_while_a_file_is_kept_back_each_request_can_say_so(files: Files) -> None:
    app = files.served()
    said = []
    for content in ("first", "bad", "broken", "mended"):
        files.path.write_text(content)
        app.look()
        said.append(Client(app, Response).get("/").headers["Kept-Back"])

    assert said == ["False", "True", "True", "False"]


@pytest.mark.parametrize("content", ["bad", "broken", None])
def test_a_file_that_only_the_rejected_version_names_may_be_mended(files: Files, content: str | None) -> None:
    app = files.served()
    named = files.path.with_name("named.toml")
    if content is not None:
        named.write_text(content)
    files.path.write_text("names named.toml")
    assert [app.look(), app.look()] == [False, False]

    named.write_text("mended")
    assert app.look()
    assert answer(app) == "names named.toml mended"

    named.write_text("changed")
    assert app.look(), "and from then on it is watched"
    assert answer(app) == "names named.toml changed"
    assert not app.look()


# ---- What changes while it is being built


def once(does: Callable[[], object]) -> Callable[[], object]:
    """Does it the first time only."""
    left = [does]
    return lambda: left.pop()() if left else None


def test_what_changes_after_it_was_read_and_before_it_is_built_is_not_lost(files: Files) -> None:
    app = files.served()
    files.path.write_text("second")
    files.meanwhile = once(lambda: files.path.write_text("third"))

    assert app.look()
    assert answer(app) == "third"
    assert not app.look()


def test_nor_at_start(files: Files) -> None:
    files.meanwhile = once(lambda: files.path.write_text("second"))

    assert answer(files.served()) == "second"
    files.path.write_text("first")
    files.meanwhile = once(lambda: files.path.write_text("second"))
    assert answer(Reloading(files.build)) == "second"


def test_nor_in_a_file_that_was_not_named_before(files: Files) -> None:
    app = files.served()
    named = files.path.with_name("named.toml")
    named.write_text("second")
    files.path.write_text("names named.toml")
    files.meanwhile = once(lambda: named.write_text("third"))

    assert app.look()
    assert answer(app) == "names named.toml third"
    assert not app.look()


def test_if_it_turns_bad_meanwhile_the_old_one_stays(files: Files) -> None:
    app = files.served()
    files.path.write_text("second")
    files.meanwhile = once(lambda: files.path.write_text("bad"))

    assert not app.look()
    assert answer(app) == "first"


def test_a_file_that_never_rests_holds_nobody_up_and_is_taken_up_in_the_end(files: Files) -> None:
    app = files.served()
    files.path.write_text("0")
    files.meanwhile = lambda: files.path.write_text(str(files.built))

    assert app.look()
    assert files.built < 10
    files.meanwhile = lambda: None
    assert app.look()
    assert answer(app) == files.path.read_text()
    assert not app.look()


def test_at_start_a_bad_file_is_refused(files: Files) -> None:
    files.path.write_text("bad")

    with pytest.raises(SiteUnfit):
        Reloading(files.build)


def test_it_looks_by_itself_until_it_is_left(files: Files) -> None:
    app = files.served()
    looked = threading.Event()

    def look() -> bool:
        looked.set()
        return False

    app.look = look  # type: ignore[method-assign]
    with app.watching(every_seconds=0.001):
        assert looked.wait(10)
    assert "tenants" not in {thread.name for thread in threading.enumerate()}


def test_whoever_asks_for_a_look_need_not_wait(files: Files) -> None:
    app = files.served()
    files.path.write_text("second")
    taken_up = threading.Event()
    stop = listen(lambda event, _: taken_up.set() if event is Event.TENANTS_RELOADED else None)
    with app.watching(every_seconds=3600):
        app.look_soon()
        assert taken_up.wait(10)
        files.path.write_text("third")
    stop()
    assert answer(app) == "second", "when it is left it looks no more"


def test_a_call_that_has_begun_is_ended_by_the_application_that_began_it(files: Files) -> None:
    app = files.served()
    begun = app(EnvironBuilder("/").get_environ(), lambda *_: None)  # type: ignore[arg-type]
    files.path.write_text("second")
    app.look()

    assert b"".join(begun) == b"first"
