"""
Asks the service and the other opinion about the same charts, and says where they disagree.

    python tests/opinion/compare.py --charts 10000 --seed 2
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
NPM: Final = HERE / "npm"
if __name__ == "__main__":
    sys.path[:0] = [str(HERE.parent), str(HERE)]

from charts import NOW, Chart, charts  # noqa: E402  (found only now, when this runs by itself)
from code_lists import as_json  # noqa: E402
from encoding import site_of  # noqa: E402

from cds_service.advisor import Advisor  # noqa: E402
from cds_service.clinical.facts import State  # noqa: E402
from cds_service.ehr.gathering import gather  # noqa: E402
from cds_service.hooks.request import parse_request  # noqa: E402
from cds_service.knowledge import load_knowledge  # noqa: E402
from cds_service.rendering.wording import load_wording  # noqa: E402
from cds_service.settings import Site  # noqa: E402

LISTS: Final = ("contraindications", "review", "monitor", "missing", "confirm")
SINGLE: Final = ("stage", "tier", "safety", "status", "dose")
Opinion = dict[str, Any]


def installed(folder: Path) -> Path:
    """The other opinion with its packages, exactly as locked, in a folder of its own."""
    for file in NPM.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    (folder / "code_lists.json").write_text(json.dumps(as_json()))
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--cache", "cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    return folder


def ask_the_other(folder: Path, asked: Sequence[Chart], library: str = "SecondOpinion.cql") -> list[Opinion]:
    """All charts go to one process. Anything on standard error is a failure."""
    done = subprocess.run(
        # Each answer leaves many small things behind. In a larger nursery they die young.
        ["node", "--max-semi-space-size=64", "opinion.mjs", library, "code_lists.json"],  # noqa: S607
        cwd=folder,
        input="".join(f"{json.dumps(chart.question())}\n" for chart in asked),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-2_000:]
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) == len(asked)
    return [_in_order(opinion) for opinion in said]


def asking_the_service() -> Callable[[Chart], Opinion]:
    """A way to ask the service: from the request, as it comes, to what was decided."""
    knowledge = load_knowledge()
    wording = load_wording(knowledge=knowledge)

    @cache
    def advisor(site: Site) -> tuple[Advisor, dict[str, dict[str, str]]]:
        made = Advisor(knowledge, wording, site, lambda: NOW)
        return made, {one["hook"]: one["prefetch"] for one in made.discovery()["services"]}

    def ask(chart: Chart) -> Opinion:
        asked, templates = advisor(Site.from_table(site_of(chart.case)))
        hook = chart.case["hook"]
        request = parse_request(chart.request(templates[hook]), hook)
        thought = asked.consult(request, gather(request, asked.sources), NOW)
        judged, dose = thought.eligibility, thought.dose
        return _in_order(
            {
                "stage": thought.occasion.stage,
                "tier": thought.risk.tier,
                "safety": thought.facts["safety_concern"].state is State.PRESENT,
                "contraindications": [met.row.id for met in judged.contraindications],
                "review": [met.row.id for met in judged.reviews],
                "monitor": [met.row.id for met in judged.modifiers],
                "missing": [one.id for one in judged.missing],
                "confirm": [one.id for one in judged.confirm],
                "status": judged.status,
                "dose": dose and dose.dose_mg,
            }
        )

    return ask


def _in_order(opinion: Opinion) -> Opinion:
    """Ids have no order; a dose is a number; null is no. In another stage there is no card, and nothing to compare."""
    if opinion["stage"] == "other":
        return {"stage": "other"}
    return {
        **{name: str(opinion[name]) for name in ("stage", "tier", "status")},
        **{name: sorted(opinion[name] or []) for name in LISTS},
        "safety": bool(opinion["safety"]),
        "dose": None if opinion["dose"] is None else float(opinion["dose"]),
    }


# ---- What they say


@dataclass(frozen=True)
class Disagreement:
    """One chart on which the two disagree, and about what."""

    chart: str
    about: dict[str, tuple[Any, Any]]

    def __str__(self) -> str:
        said = "; ".join(
            f"{name}: the service {ours}, the other {theirs}" for name, (ours, theirs) in self.about.items()
        )
        return f"{self.chart}: {said}"


def disagreements(asked: Iterable[Chart], ours: Iterable[Opinion], theirs: Iterable[Opinion]) -> Iterator[Disagreement]:
    for chart, mine, other in zip(asked, ours, theirs, strict=True):
        about = {name: (mine.get(name), other.get(name)) for name in sorted({*mine, *other})}
        about = {name: pair for name, pair in about.items() if pair[0] != pair[1]}
        if about:
            yield Disagreement(chart.case.id, about)


def met(opinions: Iterable[Opinion]) -> Counter[str]:
    """How often each criterion, each unknown input, each tier, stage and status occurred."""
    counted: Counter[str] = Counter()
    for opinion in opinions:
        for name in LISTS:
            counted.update(f"{name} {one}" for one in opinion.get(name, ()))
        counted.update(f"{name} {opinion[name]}" for name in ("stage", "tier", "status") if name in opinion)
        counted["safety concern"] += opinion.get("safety", False)
        counted["with a dose"] += opinion.get("dose") is not None
    return counted


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--charts", type=int, default=2_000)
    arguments.add_argument("--seed", type=int, default=1)
    told = arguments.parse_args()
    asked = list(charts(told.charts, told.seed))
    ask = asking_the_service()
    ours = [ask(chart) for chart in asked]
    with tempfile.TemporaryDirectory() as folder:
        theirs = ask_the_other(installed(Path(folder)), asked)
    wrong = list(disagreements(asked, ours, theirs))
    for what, count in sorted(met(ours).items()):
        sys.stdout.write(f"{count:6} {what}\n")
    for one in wrong:
        sys.stdout.write(f"{one}\n")
    sys.stdout.write(f"{len(asked)} charts, {len(wrong)} disagreements\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
