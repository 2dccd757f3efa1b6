"""The promises that the house makes about itself."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cds_service
from cds_service import errors
from cds_service.clinical import derived
from cds_service.hooks.request import HOOKS
from cds_service.knowledge import load_knowledge

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "cds_service"
MODULES = sorted(PACKAGE.rglob("*.py"))
# The note of each change lists the modules that are longer than this.
LONG = 450
# Where other people's charts lie is told by the environment. Their folder beside the checkout is named by the build
# script alone, which looks whether it is there.
BESIDE = "sha" + "red/"
MAY_LOOK_BESIDE = {".ci/run"}
MADE_BY_TOOLS = re.compile(r"\.git|\.venv|\.hypothesis|__pycache__|dist|build|.*_cache|.*\.egg-info")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def files() -> Iterator[Path]:
    """Every file of the project that a person or this project wrote."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not MADE_BY_TOOLS.fullmatch(name)]
        yield from (Path(folder) / name for name in names)


def texts() -> Iterator[tuple[str, str]]:
    for path in files():
        try:
            yield named(path), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # an image


# ---- The code


def test_the_error_tree_in_the_docstring_is_the_real_one() -> None:
    told = [line.strip("├└─ ") for line in (errors.__doc__ or "").splitlines() if "─" in line]

    assert told == [kind.__name__ for kind in errors.ServiceError.__subclasses__()]
    assert not [kind for child in errors.ServiceError.__subclasses__() for kind in child.__subclasses__()]


def test_an_error_that_is_not_on_the_tree_never_leaves_its_room() -> None:
    on_the_tree = {"ServiceError", *(kind.__name__ for kind in errors.ServiceError.__subclasses__())}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name not in on_the_tree and _is_an_error(node):
                users = {named(user) for user in MODULES if node.name in user.read_text(encoding="utf-8")}
                assert users <= {named(near) for near in path.parent.glob("*.py")}, node.name


def _is_an_error(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id.endswith(("Error", "Exception")) for base in node.bases)


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_every_module_says_first_what_it_knows(path: Path) -> None:
    told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = re.split(r"(?<=[.?!])\s", told.strip(), maxsplit=1)[0]

    assert first.endswith((".", "?", "!")), "no first sentence"
    assert 2 <= len(first.split()) <= 40
    assert not re.match(r"(this|the) (module|file|package|script)\b", first, re.IGNORECASE), "it is about itself"


def test_no_module_grows_without_being_noticed(record_property: Callable[[str, object], None]) -> None:
    """Not a limit, but a list: a module may be long for a reason. None may be twice as long."""
    lengths = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    long = {name: lines for name, lines in sorted(lengths.items()) if lines > LONG}
    record_property("long_modules", str(long))

    assert all(lines <= 2 * LONG for lines in long.values()), long


def test_the_thinking_knows_no_world() -> None:
    """The clinical room imports nothing with which it could look at a clock, a file, a wire or a die."""
    may_know = {
        "__future__",
        "collections",
        "dataclasses",
        "datetime",
        "decimal",
        "enum",
        "fractions",
        "math",
        "string",
        "typing",
    }
    may_know |= {"cds_service.clinical", "cds_service.knowledge", "cds_service.settings"}
    for path in sorted((PACKAGE / "clinical").glob("*.py")):
        imported = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {".".join(name.split(".")[: 2 if name.startswith("cds_service") else 1]) for name in names}
        assert imported <= may_know, path.name


CLOCKS = re.compile(r"\b(?:datetime\.now|datetime\.utcnow|date\.today|time\.time)\(")


def test_only_the_command_line_and_the_demonstration_look_at_the_clock() -> None:
    """Both hand it on as an argument. Everywhere else the time comes in, so that a test can make it stand still."""
    lookers = {named(path) for path in MODULES if CLOCKS.search(path.read_text(encoding="utf-8"))}

    assert lookers <= {"cds_service/__main__.py", "cds_service/web/demo.py"}


def test_every_module_can_be_imported_alone() -> None:
    names = [
        name for _, name, _ in pkgutil.walk_packages(cds_service.__path__, "cds_service.") if "__main__" not in name
    ]

    for name in names:
        importlib.import_module(name)
    assert len(names) > 30


def test_a_wrong_import_order_hides_no_circle() -> None:
    """Each room is imported first in a process of its own."""
    rooms = [
        "advisor",
        "batch",
        "checking",
        "clinical.derived",
        "ehr.reading",
        "rendering.cards",
        "web.app",
        "settings",
    ]
    script = "import importlib, sys; importlib.import_module('cds_service.' + sys.argv[1])"

    for room in rooms:
        command = [sys.executable, "-c", script, room]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr


# ---- The tables and the cards


@pytest.mark.parametrize(
    "path",
    [
        *sorted((PACKAGE / "knowledge" / "tables").glob("*.toml")),
        *sorted((PACKAGE / "knowledge" / "value_sets").glob("*.toml")),
        *sorted((ROOT / "cards").glob("*.toml")),
    ],
    ids=named,
)
def test_every_table_and_card_says_that_nobody_has_reviewed_it(path: Path) -> None:
    """Who signs, signs in the file of the own site. A name here would be an invented reviewer."""
    reviewed = tomllib.loads(path.read_text(encoding="utf-8"))["reviewed"]

    assert reviewed["by"] == []
    assert reviewed["on"] < reviewed["again"]


def test_a_table_row_tests_facts_that_the_tables_name() -> None:
    """What is derived in code has a row with its words, and what has a row is derived or read."""
    named_here = {row.fact for row in load_knowledge().derived.row}

    assert set(derived.names()) <= named_here
    assert named_here <= derived.names() | derived.READ


def test_no_dose_and_no_limit_hides_in_the_code() -> None:
    """Numbers of medicine stand in tables. The two ceilings are the one exception (decision logic, section 5)."""
    suspects = re.compile(r"Decimal\((?:\"[\d.]+\"|\d+)\)")
    found = {
        (named(path), match)
        for path in sorted((PACKAGE / "clinical").glob("*.py"))
        for match in suspects.findall(path.read_text(encoding="utf-8"))
    }

    assert {row for row in found if row[1] not in ('Decimal("0.1")', 'Decimal("0.001")', "Decimal(1)")} == {
        ("cds_service/clinical/dosing.py", "Decimal(20)"),
        ("cds_service/clinical/dosing.py", "Decimal(50)"),
    }


# ---- The papers


def test_the_reference_names_every_setting() -> None:
    reference = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    named, of_tests = re.compile(r"\bCDS_[A-Z0-9_]*[A-Z0-9]\b"), re.compile(r"\"(CDS_(?:TEST|WRITE)_[A-Z0-9_]+)\"")
    settings = {
        name
        for path, text in texts()
        if path.endswith(".py")
        for name in (named if path.startswith("cds_service/") else of_tests).findall(text)
    }

    assert "CDS_PUBLIC_BASE_URL" in settings
    assert {name for name in settings if f"`{name}`" not in reference} == set()


def test_the_readme_names_every_service_and_leads_to_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    for service in HOOKS:
        assert service.id in readme
        assert service.hook in readme
    for command in ("serve", "check", "evaluate", "demo"):
        assert f"cds-service {command}" in readme
    assert "(docs/reference/command-line.md)" in readme


def test_every_link_of_the_papers_leads_somewhere() -> None:
    for paper in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)", paper.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith("mailto:"):
                assert (paper.parent / target).exists(), f"{named(paper)}: {target}"


def test_no_file_names_a_folder_of_one_machine() -> None:
    homes = re.compile(r"(?<![\w.])/(?:home|root|Users|work)/\w+")
    found = {(path, match) for path, text in texts() for match in homes.findall(text)}

    assert found == set()


def test_no_file_names_the_folder_beside_the_checkout() -> None:
    found = {path for path, text in texts() if re.search(rf"(?<!\w){BESIDE}", text)}

    assert found - MAY_LOOK_BESIDE == set()


def test_the_wheel_is_told_to_take_the_cards_and_the_description_of_the_api() -> None:
    """What it really holds is tried by the build script, from a wheel outside the checkout."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]

    assert {"/cds_service", "/cards/**/*.toml"} <= set(wheel["include"])
    assert wheel["sources"]["cards"] == "cds_service/cards"
    # hatchling maps folders only: as an `include`, the file would lie at the top of site-packages.
    assert wheel["force-include"]["openapi.yaml"] == "cds_service/openapi.yaml"
    assert (ROOT / "LICENSE").stat().st_size > 10_000
    for name in ("LOINC", "SNOMED", "RxNorm", "UCUM"):
        assert name in (ROOT / "NOTICE").read_text(encoding="utf-8")


def test_every_package_is_pinned_by_its_hash() -> None:
    """And each that the project asks for is among them."""
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = re.findall(r"^([a-z0-9._-]+)==\S+.*((?:\n    --hash=sha256:[0-9a-f]{64}.*)+)", locked, re.MULTILINE)
    listed = re.findall(r"^([a-z0-9._-]+)==", locked, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]

    assert [name for name, _ in pinned] == listed
    assert {re.split(r"[\[<>=]", name.lower())[0].replace("_", "-").replace(".", "-") for name in asked} <= set(listed)
