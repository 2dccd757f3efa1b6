"""
Changes one thing at a time in what reads and what thinks, and asks the tests that run that line whether they notice.

`python tests/mutation.py FILE [MODULE ...]` writes a line of JSON for each change. Once more, it asks only those that
nobody has noticed yet. The changes are mutmut's; here they are made in decorated functions, too, and within one
process, so that nine thousand of them take minutes and not a night (docs/mutation-testing.md).
"""

from __future__ import annotations

import importlib
import json
import random
import signal
import sys
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, Final

import libcst as cst
import pytest
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.file_mutation import NEVER_MUTATE_FUNCTION_NAMES, Mutation, MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

ROOT: Final = Path(__file__).parent.parent
ROOMS: Final = ("cds_service/clinical", "cds_service/ehr/reading")
# Those that ask these rooms directly: they are fast. The stories and the proofs ask the whole service, and come on top.
TESTS: Final = (
    "tests/clinical/test_approving.py",
    "tests/clinical/test_derived_facts.py",
    "tests/clinical/test_dosing.py",
    "tests/clinical/test_judging.py",
    "tests/clinical/test_order_check.py",
    "tests/clinical/test_planning.py",
    "tests/clinical/test_rounding.py",
    "tests/clinical/test_screening.py",
    "tests/clinical/test_stage_and_moment.py",
    "tests/ehr/test_drafted_orders.py",
    "tests/ehr/test_medicines.py",
    "tests/ehr/test_odd_drafts.py",
    *(f"tests/ehr/{path.name}" for path in sorted((ROOT / "tests" / "ehr").glob("test_reading_*.py"))),
    "tests/ehr/test_shapes.py::test_a_questionnaire_is_wanted_where_the_answers_do_not_speak",
)
# Without the properties: what only a random example finds does not count here.
OPTIONS: Final = ("-q", "-s", "-p", "no:cacheprovider", "-m", "not hypothesis")
# A change that takes longer than this for one test never ends.
SECONDS: Final = 20
Line = tuple[str, int]


# ---- The changes


@dataclass(frozen=True)
class Change:
    """One change: in which function of which module it is made, on which lines, and what stands instead of what."""

    name: str
    module: ModuleType
    function: str
    lines: range
    made: Mutation
    outer: cst.FunctionDef

    @property
    def source(self) -> str:
        """The changed function as if it stood alone in a module."""
        changed = self.outer.deep_replace(self.made.original_node, self.made.mutated_node)
        bare = cst.ensure_type(changed, cst.FunctionDef).with_changes(decorators=[], leading_lines=[])
        return "from __future__ import annotations\n" + textwrap.dedent(cst.Module([bare]).code)


class _Visitor(MutationVisitor):
    """mutmut leaves decorated functions out, because it copies them. Here nothing is copied."""

    def __init__(self) -> None:
        super().__init__(mutation_operators, IgnoredCode(set(), set(), set()))
        self.lines: list[range] = []

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef) and node.name.value not in NEVER_MUTATE_FUNCTION_NAMES:
            return False
        skipped: bool = super()._skip_node_and_children(node)
        return skipped

    def _create_mutations(self, node: cst.CSTNode) -> None:
        super()._create_mutations(node)
        place = self.get_metadata(PositionProvider, node)
        lines = range(place.start.line, place.end.line + 1)
        self.lines += [lines] * (len(self.mutations) - len(self.lines))


def modules_of(rooms: Iterable[str]) -> Iterator[str]:
    for room in rooms:
        for path in sorted((ROOT / room).glob("*.py")):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def changes_in(name: str) -> Iterator[Change]:
    """Every change of a module that is made inside a function."""
    module = importlib.import_module(name)
    visitor = _Visitor()
    tree = MetadataWrapper(cst.parse_module(Path(str(module.__file__)).read_text(encoding="utf-8"))).visit(visitor)
    owners = dict(_functions(tree))
    for number, (made, lines) in enumerate(zip(visitor.mutations, visitor.lines, strict=True)):
        outer = made.contained_by_top_level_function
        if outer is not None and id(outer) in owners:
            yield Change(f"{name}:{number}", module, owners[id(outer)], lines, made, outer)


def _functions(tree: cst.Module) -> Iterator[tuple[int, str]]:
    for statement in tree.body:
        if isinstance(statement, cst.FunctionDef):
            yield id(statement), statement.name.value
        elif isinstance(statement, cst.ClassDef):
            for inner in statement.body.body:
                if isinstance(inner, cst.FunctionDef):
                    yield id(inner), f"{statement.name.value}.{inner.name.value}"


# ---- Making one, and taking it back


def function_of(change: Change) -> FunctionType:
    """The function that is changed, behind whatever decorates it."""
    name, _, method = change.function.partition(".")
    owner = vars(change.module)[name]
    found = vars(owner)[method] if method else owner
    found = found.fget if isinstance(found, property) else found
    found = getattr(found, "__func__", found)
    return getattr(found, "__wrapped__", found)  # type: ignore[no-any-return]


def make(change: Change) -> None:
    """The function stays the one that everybody has imported; only what it does is another."""
    space = dict(vars(change.module))
    exec(compile(change.source, str(change.module.__file__), "exec"), space)  # noqa: S102  (our own code, one thing changed)
    new, old = space[change.function.rpartition(".")[2]], function_of(change)
    old.__code__, old.__defaults__, old.__kwdefaults__ = new.__code__, new.__defaults__, new.__kwdefaults__


def forget() -> None:
    """What a function remembers from one call to the next would hide that it was changed."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("cds_service.clinical", "cds_service.ehr")):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


# ---- Asking the tests


class TooLong(BaseException):
    """Nothing in the service catches this."""


def _too_long(*_: object) -> None:
    raise TooLong


def passes(item: pytest.Item, session: pytest.Session) -> bool:
    """Runs one test, as pytest does, without a report."""
    item._initrequest()  # type: ignore[attr-defined]
    signal.alarm(SECONDS)
    try:
        item.ihook.pytest_runtest_setup(item=item)
        item.ihook.pytest_runtest_call(item=item)
    except (Exception, pytest.fail.Exception, TooLong):
        return False
    finally:
        signal.alarm(0)
        item.ihook.pytest_runtest_teardown(item=item, nextitem=session)
    return True


def lines_of(code: CodeType) -> set[int]:
    inner = [lines_of(one) for one in code.co_consts if isinstance(one, CodeType)]
    return {line for *_, line in code.co_lines() if line is not None}.union(*inner)


class Asking:
    """A plugin of pytest: instead of running the tests once, it asks them about each change."""

    def __init__(self, written: Path, modules: list[str]) -> None:
        self.written = written
        self.changes = [change for name in modules for change in changes_in(name)]
        self.files = {str(change.module.__file__): change.module.__name__ for change in self.changes}
        self.ran: dict[Line, set[int]] = defaultdict(set)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        signal.signal(signal.SIGALRM, _too_long)
        # A folder of its own is taken away by pytest's report, and there is none.
        session.items[:] = [item for item in session.items if "tmp_path" not in getattr(item, "fixturenames", ())]
        for number, item in enumerate(session.items):
            self._watch(number, item, session)
        noticed = self._noticed_before()
        by_function: dict[str, Counter[int]] = defaultdict(Counter)
        chance = random.Random(8)  # noqa: S311  (which of the tests is asked first)
        with self.written.open("a", encoding="utf-8") as file:
            for change in self.changes:
                if change.name in noticed:
                    continue
                best = by_function[f"{change.module.__name__}.{change.function}"]
                asked = sorted(self._tests_of(change), key=lambda n: (-best[n], chance.random()))
                by = self._noticing(change, asked, session)
                if by is not None:
                    best[by] += 1
                file.write(json.dumps(self._told(change, by, len(asked), session)) + "\n")
                file.flush()
        for number, item in enumerate(session.items):  # a change that outlived itself would have failed them all
            self._watch(number, item, session)
        return True

    def _watch(self, number: int, item: pytest.Item, session: pytest.Session) -> None:
        """Which lines a test runs. It must pass while nothing is changed."""

        def on_line(frame: FrameType, _: str, __: object) -> Any:
            name = self.files.get(frame.f_code.co_filename)
            if name is None:
                return None
            self.ran[name, frame.f_lineno].add(number)
            return on_line

        forget()
        sys.settrace(on_line)
        passed = passes(item, session)
        sys.settrace(None)
        if not passed:
            raise pytest.UsageError(f"fails although nothing is changed: {item.nodeid}")

    def _tests_of(self, change: Change) -> set[int]:
        """The tests that run the changed lines; those of the whole function, where Python names no such line."""
        name = change.module.__name__
        found: set[int] = set().union(*(self.ran[name, line] for line in change.lines))
        return found or set().union(*(self.ran[name, line] for line in lines_of(function_of(change).__code__)))

    def _noticing(self, change: Change, asked: list[int], session: pytest.Session) -> int | None:
        function = function_of(change)
        kept = function.__code__, function.__defaults__, function.__kwdefaults__
        try:
            make(change)
            forget()
            return next((n for n in asked if not passes(session.items[n], session)), None)
        finally:
            function.__code__, function.__defaults__, function.__kwdefaults__ = kept
            forget()

    def _noticed_before(self) -> set[str]:
        if not self.written.exists():
            return set()
        rows = map(json.loads, self.written.read_text(encoding="utf-8").splitlines())
        return {row["name"] for row in rows if row["noticed"]}

    def _told(self, change: Change, by: int | None, asked: int, session: pytest.Session) -> dict[str, Any]:
        return {
            "name": change.name,
            "in": change.function,
            "line": change.lines.start,
            "instead of": _written(change.made.original_node),
            "stands": _written(change.made.mutated_node),
            "tests": asked,
            "noticed": None if by is None else session.items[by].nodeid,
        }


def _written(node: cst.CSTNode) -> str:
    return " ".join(cst.Module([]).code_for_node(node).split())


def counted(written: Path) -> Iterator[str]:
    """A line for each module: how many changes were noticed, of how many."""
    rows = {row["name"]: row for row in map(json.loads, written.read_text(encoding="utf-8").splitlines())}
    of: Counter[str] = Counter(name.partition(":")[0] for name in rows)
    noticed: Counter[str] = Counter(name.partition(":")[0] for name, row in rows.items() if row["noticed"])
    for module, changes in of.items():
        yield f"{module}: {noticed[module]} of {changes}, {noticed[module] / changes:.1%}"


if __name__ == "__main__":
    place, *named = sys.argv[1:]
    asking = Asking(Path(place), named or list(modules_of(ROOMS)))
    if (ended := pytest.main([*OPTIONS, *TESTS], plugins=[asking])) != pytest.ExitCode.OK:
        sys.exit(ended)
    sys.stdout.writelines(f"{line}\n" for line in counted(Path(place)))
