"""Is everything that this service would start with in order? Every defect, not only the first."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path

from cds_service.advisor import Advisor
from cds_service.clinical import derived
from cds_service.clinical.approval import ceiling_defects, defects
from cds_service.ehr.gathering import Sources
from cds_service.errors import KnowledgeUnfit, SiteUnfit
from cds_service.events import place_of
from cds_service.hooks.request import HOOKS, parse_request
from cds_service.knowledge import Knowledge, load_knowledge
from cds_service.knowledge.loader import FOLDER, banned_words
from cds_service.knowledge.shapes import Reviewed
from cds_service.rendering import wording
from cds_service.rendering.languages import defects as language_defects
from cds_service.rendering.languages import in_language, languages, sentences
from cds_service.rendering.orders import OrderSet
from cds_service.settings import DEFAULT_LANGUAGE, Site
from cds_service.stories import read_stories
from cds_service.tenants import TenantsFile
from cds_service.tenants import defects as tenant_defects


@dataclass(frozen=True, slots=True)
class Report:
    """The defects, one line each, and what was checked: also what is to be done, but stops nobody."""

    defects: tuple[str, ...]
    checked: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        count = len(self.defects)
        return (*self.checked, *self.defects, "no defects" if not count else f"{count} defect{'s' * (count > 1)}")


def check_everything(
    site: Path | None, knowledge: Path | None, cards: Path | None, tenants: Path | None = None, *, today: date
) -> Report:
    """Checks the knowledge, the cards against it, and the site file or the tenants file against both, as of today."""
    found: list[str] = []
    told: list[str] = []
    place = None
    if site is not None:
        try:
            place = Site.from_file(site)
        except SiteUnfit as unfit:
            found += unfit.defects
    tables: Knowledge | None = None
    try:
        tables = load_knowledge(knowledge or FOLDER, expansions=place.terminology if place else None)
    except KnowledgeUnfit as unfit:
        found += unfit.defects
    if tables is not None:
        found += ceiling_defects(tables)
        found += _underived(tables)
        found += _orders(tables)
        found += _hooks(tables)
        if place is not None:
            found += defects(place, tables)
            found += _sources(place, tables)
        if tenants is not None:
            found += _tenants(tenants, tables)
        told.append(f"knowledge {tables.version} {tables.hash}")
        told.append(_review(place))
        if tables.uncited:
            told.append(f"sources that nobody cites ({len(tables.uncited)}): {', '.join(tables.uncited)}")
    misworded = wording.defects(cards, tables, banned_words(knowledge or FOLDER))
    found += misworded
    due = {**tables.reviews_due} if tables is not None else {}
    if tables is not None and not misworded:
        told_in = []
        for language in _spoken(place, tenants, cards):
            if untranslated := _untranslated(language, tables, cards, site):
                found += untranslated
                continue
            told_in.append(in_language(language, tables, cards))
            words = told_in[-1][1]
            due.update(words.reviews_due)
            if words.translation:
                told.append(_translated(language, words, tables, cards))
        if not found:  # with any other defect this says nothing new
            found += (line for spoken, words in told_in for line in _untold(spoken, words, place))
    told += _overdue(due, today)
    found += _too_early(due, today)
    return Report(tuple(found), tuple(told))


def _spoken(site: Site | None, tenants: Path | None, cards: Path | None) -> tuple[str, ...]:
    """The languages of the sites in question; with none in question, every language that there is."""
    sites = [] if site is None else [site]
    if tenants is not None:
        with suppress(SiteUnfit):  # told elsewhere
            file = TenantsFile.from_file(tenants, production=True)
            sites += map(file.site_of, file.tenants)
    if site is None and tenants is None:
        return languages(cards)
    return tuple(dict.fromkeys([DEFAULT_LANGUAGE, *(one.language for one in sites)]))


def _untranslated(language: str, tables: Knowledge, cards: Path | None, site: Path | None) -> tuple[str, ...]:
    """What is missing in a language, or says something else than the English does."""
    if language == DEFAULT_LANGUAGE:
        return ()
    try:
        return language_defects(language, tables, cards)
    except SiteUnfit as unfit:
        return tuple(f"{site or 'site'}: {line}" for line in unfit.defects)


def _translated(language: str, words: wording.Wording, tables: Knowledge, cards: Path | None) -> str:
    """How much a translation holds, and who has read it."""
    places = sentences(tables, wording.read_files(cards or wording.cards_folder()))
    by = words.reviews_due[words.translation].by
    read = f"reviewed by {', '.join(by)}" if by else "the translation is not clinically reviewed"
    return f"cards in {language}: {sum(map(len, places.values()))} sentences, {read}"


def _untold(tables: Knowledge, words: wording.Wording, place: Site | None) -> list[str]:
    """Every worked case must get its answer: no card with a hole, and no fact that the code asks for in vain."""
    broken: dict[str, list[str]] = {}
    for story in read_stories():
        try:
            asked = Advisor(tables, words, place or Site.from_table(story.site), partial(_at, story.now))
            failed = "its order could not be checked" if asked.advise(parse_request(story.request)).failed else None
        except Exception as error:  # whatever breaks here would break at the bedside
            failed = f"{type(error).__name__} at {place_of(error)}"
        if failed is not None:
            broken.setdefault(failed, []).append(story.id)
    return [f"{len(ids)} worked cases get no answer, {ids[0]} first: {failed}" for failed, ids in broken.items()]


def _at(instant: datetime) -> datetime:
    return instant


def _overdue(due: Mapping[str, Reviewed], today: date) -> list[str]:
    """An old review stops nobody: the cards go on, and say it in their last line."""
    return [f"review overdue: {name} since {row.again}" for name, row in sorted(due.items()) if row.again < today]


def _too_early(due: Mapping[str, Reviewed], today: date) -> list[str]:
    return [
        f"{name}.toml: reviewed: signed on {row.on}, which is still to come"
        for name, row in sorted(due.items())
        if row.by and row.on > today
    ]


def _review(site: Site | None) -> str:
    if site is not None and site.review is not None:
        return f"reviewed for this site by {', '.join(site.review.by)} on {site.review.on}"
    return "not clinically reviewed"


def _sources(site: Site, tables: Knowledge) -> tuple[str, ...]:
    """The FHIR servers and forms that the site names must be ones that can be read."""
    try:
        Sources.of(site, tables)
    except SiteUnfit as unfit:
        return unfit.defects
    return ()


def _tenants(path: Path, tables: Knowledge) -> list[str]:
    """What production would refuse: in the tenants file, in the files that it names, and in each tenant's site."""
    try:
        file = TenantsFile.from_file(path, production=True)
    except SiteUnfit as unfit:
        return list(unfit.defects)
    found = list(tenant_defects(file, tables))
    for tenant in file.tenants:
        site = file.site_of(tenant)
        found += [f"{path}: {tenant.id}: {line}" for line in (*defects(site, tables), *_sources(site, tables))]
    return found


def _orders(tables: Knowledge) -> tuple[str, ...]:
    """The order skeletons must be valid FHIR R4."""
    try:
        OrderSet.prepare(tables)
    except KnowledgeUnfit as unfit:
        return unfit.defects
    return ()


def _hooks(tables: Knowledge) -> list[str]:
    """A topic is shown at hooks that are served, or never."""
    served = {service.hook for service in HOOKS}
    return [
        f"tables/topics.toml: {topic.code}: no such hook: {hook}"
        for topic in tables.topics.topic
        for hook in topic.hooks
        if hook not in served
    ]


def _underived(tables: Knowledge) -> list[str]:
    """Facts that a table names as derived must be derived, and the reverse."""
    named, made = {row.fact for row in tables.derived.row}, derived.names() | derived.READ
    return [
        *(f"tables/derived.toml: {fact}: nothing in the code derives it" for fact in sorted(named - made)),
        *(f"tables/derived.toml: {fact} is missing: it cannot be said" for fact in sorted(made - named)),
    ]
