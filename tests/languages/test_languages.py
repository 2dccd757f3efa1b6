"""A language is whole and says the same as the English, or it is refused: each planted defect is named in a line."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from conftest import NOON
from typer.testing import CliRunner

from cds_service.__main__ import app
from cds_service.clinical.consultation import Encountered
from cds_service.errors import KnowledgeUnfit, SiteUnfit
from cds_service.knowledge import Knowledge
from cds_service.knowledge.shapes import Row, nested
from cds_service.rendering.cards import write_failed
from cds_service.rendering.languages import HEARD, SAID, TABLES, defects, in_language, languages, sentences
from cds_service.rendering.wording import PROMISED, cards_folder, read_files
from cds_service.settings import Site
from cds_service.starting import advisor_at
from cds_service.web.app import create_app

WHO = Encountered("ppd-delivery-order", "order-sign", "d1577c69", "Patient/p", None, None)
SITE = 'name = "Hospital"\ncountry = "CN"\nlanguage = "{language}"\n'


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    """A copy of the cards, in every language."""
    return shutil.copytree(cards_folder(), tmp_path / "cards")


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{file.name} does not say {old!r} any more"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_there_is_english_and_spanish() -> None:
    assert languages() == ("en", "es")


def test_spanish_has_no_defect(knowledge: Knowledge) -> None:
    assert defects("es", knowledge) == ()


# What is planted in the folder of the language: the file, what it says, what it says instead, what the line must say.
# All of them stand in one copy: each must be named, and nothing may hide another.
IN_ONE_SENTENCE = (
    ("KETDATA", '[variant.failed.summary]\n', '[variant.failed.sumary]\n', "variant.failed.summary: missing"),
    ("KETDATA", 'es = "**La comprobación de seguridad de esta orden está', 'es = "', "ordered.say: a sign of the"),
    ("KETNOPROTO", 'en = "**This site has', 'en = "**That site has', "the English words have changed since this was"),
    ("KETNOTIND", "Su EPDS es $epds. El", "Su EPDS es baja. El", "say: a placeholder of the English is missing: epds"),
    ("KETORDER", "permitido $expected", "permitido $limite", "a placeholder is not in the English: limite"),
    ("PPDFOLLOWUP", "EPDS el día 7 después del parto\"", "EPDS el día 8 después del parto\"", "a number of the"),
    ("PPDSCREEN", 'es = "Solicitar la EPDS"', 'es = " "', "suggestion.epds-now.label: not translated"),
    ("PPDRISK", 'es = "Derivar a asesoramiento psicológico"', 'fr = "Orienter"', "counselling.label: not translated"),
    ("blocks", '[block.evidence_against]\nen = "**Against', '[block.evidence_contra]\nen = "**Against',
     "block.evidence_against: missing"),
    ("blocks", "[block.evidence_contra]", "[block.evidence_contra]", "block.evidence_contra: nobody says this"),
    ("blocks", 'es = "**A favor**"', 'es = "A favor"', "evidence_for: a sign of the English is missing: **, **"),
    ("blocks", 'es = "$id, regla de $kind: $says"', 'es = "$id, regla: $says"', "data_rule: a placeholder of the"),
    ("tables/evidence", "95 % 0.14 a 0.48", "95 % 0,14 a 0.48", "statement.1.says: a number of the English is missing"),
    ("tables/evidence", "[option.watch.says]", "[option.wait.says]", "option.watch.says: missing"),
    ("tables/evidence", "un episodio depresivo mayor a los 42", "a major depressive episode at 42", ""),
    ("tables/inputs", 'es = "en los últimos 60 min"', 'es = "en los últimos 60"',
     "D05.limit: a unit of the English is missing"),
    ("tables/reviews", 'es = "Antipsicótico"', 'es = "Antidepresivo"', "the same words as for: Antidepressant"),
    ("tables/reviews", "Presión arterial por debajo de 140/90", "Tensión arterial por debajo de 140/90",
     "criterion.R07.start_check: said in other words elsewhere: Presión arterial"),
    ("tables/reviews", 'es = "EPDS actual de 19 o más"', 'es = "Escala actual de 19 o más"', "a name of the English"),
    ("tables/contraindications", 'es = "Manía actual"', 'es = ["a", "b"]', "a list stands beside a sentence"),
    ("tables/order_check", 'bolus.drafted]\nen = "bolus"', 'bolus.drafted]\nen = "push"',
     "words.departure.bolus.drafted: the English words have changed"),
    ("tables/risk", 'es = "Acontecimientos vitales negativos"', 'es = "Negative life events"', "still in English"),
    ("tables/topics", 'es = "La paciente lo rechaza"\n', "", "override_reason.patient-refuses: not translated"),
    ("language", "(es $hash)", "(es)", "unreviewed: it must say hash, and nothing else"),
)  # fmt: skip
# Found when each sentence for itself is all right.
IN_THE_WHOLE = (
    ("KETDATA", "Completar la historia antes de valorar $medicine, falta(n) $count\"",
     f"Completar {'muy ' * 30}bien $medicine, falta(n) $count\"", "offered.summary: the last form can reach"),
    ("PPDRISK", "No es un diagnóstico.", "Es segura. No es un diagnóstico.", 'high.say: the words "segura"'),
    ("PPDSAFETY", "Leerla, y", "Administrar ahora. Leerla, y", 'the words "administrar ahora" are not to be used'),
    ("PPDSCREEN", "Borrador de orden: EPDS", "javascript: Borrador de orden: EPDS", "HTML does not belong on a card"),
    ("tables/risk", "Acontecimientos vitales negativos", "Violencia de la pareja",
     'cards/es/tables/risk.toml: the words "pareja"'),
    ("blocks", "esketamina o ketamina", "esketamina o quizás la ketamina", "either_medicine: more than 22 characters"),
    ("tables/inputs", 'es = "en los últimos 7 días"', 'es = "en los últimos 7 días, una semana"',
     "D01: limit: more than 30"),
)  # fmt: skip


def test_every_defect_of_a_sentence_is_named(cards: Path, knowledge: Knowledge) -> None:
    for name, old, new, _ in IN_ONE_SENTENCE:
        change(cards / "es" / f"{name}.toml", old, new)
    (cards / "es" / "tables" / "protocols.toml").write_text("= 7", encoding="utf-8")
    (cards / "es" / "tables" / "orders.toml").unlink()
    (cards / "es" / "tables" / "order.toml").write_text("", encoding="utf-8")
    found = defects("es", knowledge, cards)
    for name, _, _, line in IN_ONE_SENTENCE:
        assert any(f"cards/es/{name}.toml" in told and line in told for told in found), (name, line)
    assert any("cards/es/tables/protocols.toml: not TOML" in line for line in found)
    assert "cards/es/tables/orders.toml: cannot be read" in found
    assert "cards/es/tables/order.toml: nobody reads this file" in found
    with pytest.raises(KnowledgeUnfit):
        in_language("es", knowledge, cards)


def test_every_defect_of_the_whole_is_named(cards: Path, knowledge: Knowledge) -> None:
    for name, old, new, _ in IN_THE_WHOLE:
        change(cards / "es" / f"{name}.toml", old, new)
    found = defects("es", knowledge, cards)
    for *_, line in IN_THE_WHOLE:
        assert any(line in told and told.startswith("cards/es/") for told in found), (line, found)
    assert len(found) >= len(IN_THE_WHOLE), found


def test_a_translation_whose_english_has_changed_is_refused(cards: Path, knowledge: Knowledge) -> None:
    """Whoever rewords a card in English is told which sentences of the other languages must be looked at."""
    change(cards / "PPDRISK.toml", "Ask how she is, and", "Ask her how she is, and")
    (line,) = defects("es", knowledge, cards)
    assert line.startswith("cards/es/PPDRISK.toml: variant.high.say: the English words have changed since this was")


# ---- check


def checked(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check", *map(str, arguments), "--now", "2026-12-01T12:00:00Z"])
    return result.exit_code, " ".join(result.output.split())


def test_check_looks_at_the_language_that_the_site_speaks(cards: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    change(cards / "es" / "PPDRISK.toml", "Preguntarle cómo está", "Preguntarle 2 veces cómo está")

    site.write_text(SITE.format(language="en"), encoding="utf-8")
    assert checked("--cards", cards, "--site", site)[0] == 0
    site.write_text(SITE.format(language="es"), encoding="utf-8")
    code, told = checked("--cards", cards, "--site", site)
    assert (code, "cards/es/PPDRISK.toml: variant.high.say: a number is not in the English: 2" in told) == (1, True)
    site.write_text(SITE.format(language="fr"), encoding="utf-8")
    code, told = checked("--cards", cards, "--site", site)
    assert (code, "language: no such language: fr; there are en, es" in told) == (1, True)


def test_check_says_that_nobody_has_reviewed_a_translation_and_tries_it_on_every_worked_case() -> None:
    code, told = checked()
    assert code == 0, told
    assert re.search(r"cards in es: \d{3,4} sentences, the translation is not clinically reviewed", told)


# ---- who reviewed it


def failed_card(knowledge: Knowledge, folder: Path, language: str) -> str:
    spoken, wording = in_language(language, knowledge, folder)
    site = Site(name="Hospital", country="CN", language=language)
    return str(write_failed(WHO, spoken, wording, site, date(2026, 12, 1))["detail"])


def test_even_a_card_about_a_failure_says_that_the_translation_is_not_reviewed(knowledge: Knowledge) -> None:
    assert "Traducción al español sin revisión clínica" in failed_card(knowledge, cards_folder(), "es")
    assert "**La comprobación de seguridad de esta orden no se completó:**" in failed_card(
        knowledge, cards_folder(), "es"
    )
    assert failed_card(knowledge, cards_folder(), "en").rstrip().endswith("not for time-critical use.")


def test_a_signed_translation_says_who_signed_and_the_knowledge_stays_unsigned(
    cards: Path, knowledge: Knowledge
) -> None:
    change(cards / "es" / "language.toml", "by = []", 'by = ["A. Example", "B. Example"]')
    detail = failed_card(knowledge, cards, "es")
    assert re.search(
        r"Traducción al español \(es [0-9a-f]{12}\) revisada por 2 el 2026-11-30, próxima revisión 2027-11-30\.$",
        detail,
    )
    assert "**sin revisión clínica**, última edición 2026-11-23" in detail


def test_the_line_names_the_words_that_spoke(cards: Path, knowledge: Knowledge) -> None:
    before = in_language("es", knowledge, cards)[0].translation
    change(cards / "es" / "PPDRISK.toml", "Preguntarle cómo está", "Preguntar cómo está")
    assert in_language("es", knowledge, cards)[0].translation != before


# ---- at start


def test_the_service_says_that_it_speaks_an_unreviewed_translation(knowledge: Knowledge) -> None:
    """Also where the site has signed the knowledge."""
    signed = {"by": ["A. Example"], "on": "2026-11-30", "knowledge": knowledge.hash}
    because = {}
    for language in ("en", "es"):
        site = Site.from_table({"country": "CN", "language": language, "review": signed})
        ready = create_app(advisor_at(site, lambda: NOON)).test_client().get("/readyz").get_json()
        because[language] = ready.get("because", [])
    assert because == {"en": [], "es": ["The translation of the cards is not clinically reviewed."]}


def test_a_language_that_there_is_not_is_refused_at_start() -> None:
    with pytest.raises(SiteUnfit, match="no such language: fr; there are en, es"):
        advisor_at(Site(country="CN", language="fr"), lambda: NOON)


@pytest.mark.parametrize("language", ["../en", "ES", "español", "e", ""])
def test_a_language_is_named_by_its_code(language: str) -> None:
    with pytest.raises(SiteUnfit, match="language"):
        Site.from_table({"country": "CN", "language": language})


def test_two_sites_in_one_process_each_speak_their_own_language(knowledge: Knowledge) -> None:
    spoken = {language: in_language(language, knowledge) for language in ("en", "es")}
    sites = {language: Site(name="Hospital", country="CN", language=language) for language in spoken}
    for _ in range(2):  # in turn, and again: nothing that is remembered belongs to the other
        for language, words in spoken.items():
            detail = write_failed(WHO, *words, sites[language], date(2026, 12, 1))["detail"]
            assert ("Por qué ahora" in detail) == (language == "es")
            assert ("Why now" in detail) == (language == "en")


def test_a_translation_changes_no_hash_and_nothing_but_words(knowledge: Knowledge) -> None:
    spoken, _ = in_language("es", knowledge)
    assert (spoken.hash, spoken.version, spoken.original) == (knowledge.hash, knowledge.version, knowledge)
    assert spoken.terminology is knowledge.terminology
    for name in TABLES:
        if name != "wording":  # other words are banned in another language, and more of them
            assert bare(getattr(knowledge, name)) == bare(getattr(spoken, name)), name


def bare(table: Row) -> list[object]:
    """What stands in a table, but for what is said to people or listened for."""
    return [
        (type(row).__name__, name, value)
        for row in nested(table, Row)
        for name, value in row
        if name not in SAID.get(type(row), ()) and not list(nested(value, Row))
    ]


# ---- nothing is forgotten

# Sentences of the tables that no clinician reads on a card, and why.
NOT_SAID = {
    "why": "for whoever writes cards",
    "label": "what a code system calls its own code",
    "by": "people's names",
    "negations": "looked for in a chart",
    "past_words": "looked for in a chart",
    "kind": "a name that the code knows",
    "before_birth": "a name that the code knows",
    "after_birth": "a name that the code knows",
}


def test_every_sentence_of_the_tables_is_translated_or_reaches_no_card(knowledge: Knowledge) -> None:
    unsaid = {
        (type(row).__name__, name)
        for table in TABLES
        for row in nested(getattr(knowledge, table), Row)
        for name, value in row
        if name not in SAID.get(type(row), ()) and name not in NOT_SAID and any(" " in text for text in texts(value))
    }
    # Nobody shows these two: a departure shows what was drafted and expected, a protocol its figures.
    assert unsaid == {("DepartureWords", "says"), ("Protocol", "says")}


def texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case tuple() | list():
            for member in value:
                yield from texts(member)
        case dict():
            yield from texts(tuple(value.values()))


def test_every_sentence_of_the_card_files_is_translated(knowledge: Knowledge) -> None:
    """Also in variants that no worked case shows."""
    files = read_files(cards_folder())
    places = sentences(knowledge, files)
    for card in files.cards.values():
        found = places[card.topic]
        for variant in PROMISED[card.topic].variants:
            assert {("variant", variant, "summary"), ("variant", variant, "say")} <= set(found)
        for row in card.suggestion:
            assert {("suggestion", row.order, "label"), ("suggestion", row.order, "description")} <= set(found)
    assert set(files.blocks.block) == {place[1] for place in places["blocks"] if place[0] == "block"}


def test_only_the_words_of_an_order_are_listened_for_in_another_language(knowledge: Knowledge) -> None:
    """And the English ones still are: an order may be drafted in either."""
    spoken, _ = in_language("es", knowledge)
    english, spanish = knowledge.order_check.words, spoken.order_check.words
    for name in HEARD:
        assert set(getattr(english, name)) < set(getattr(spanish, name))
    assert "bolo" in spanish.bolus
    assert "sin" in spanish.negations
