"""
Words that are found nowhere else, planted wherever a patient's words could stand, and how they are hunted.

Each place gets a word of its own, so that a word that turns up says where it came from.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from encoding import Json

SYSTEM = "https://codes.example.org/local"
NARRATIVE = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'


@dataclass
class Flock:
    """The canaries by the place where each was planted. Asking for one plants it."""

    words: dict[str, str] = field(default_factory=dict)

    def __call__(self, place: str) -> str:
        return self.words.setdefault(place, f"{_BIRD}{len(self.words):03}Canary")

    def found_in(self, text: str, *, where: str = "") -> list[str]:
        """The places whose words are in the text, in any case, as they are or in Base64."""
        plain = set(_PLAIN.findall(text.lower()))
        encoded = any(beginning in text for beginning in _in_base64(_BIRD))
        return [
            f"{place} in {where}" if where else place
            for place, word in self.words.items()
            if word.lower() in plain or (encoded and any(form in text for form in _in_base64(word)))
        ]


_BIRD = "Zebrafinch"
_PLAIN = re.compile(rf"{_BIRD.lower()}[0-9]{{3}}canary")


def _in_base64(word: str) -> Iterator[str]:
    """However the bytes around it fall: what is left of it in each of the three positions."""
    for before in range(3):
        encoded = base64.urlsafe_b64encode(b"\0" * before + word.encode()).decode()
        yield encoded[4 if before else 0 : (before + len(word)) // 3 * 4]


# ---- In a chart


def _in_resource(resource: Json, flock: Flock) -> Json:
    kind = resource["resourceType"]

    def word(place: str) -> str:
        return flock(f"{kind}.{place}")

    planted: Json = {
        **resource,
        "text": {"status": "generated", "div": NARRATIVE.format(word("text"))},
        "identifier": [{"system": f"urn:{word('identifier.system')}", "value": word("identifier")}],
        "extension": [{"url": f"https://x.example.org/{word('extension.url')}", "valueString": word("extension")}],
        "contained": [{"resourceType": "Basic", "id": word("contained.id"), "code": {"text": word("contained")}}],
        "meta": {
            "source": f"urn:{word('meta.source')}",
            "tag": [{"system": SYSTEM, "code": word("meta.tag"), "display": word("meta.tag.display")}],
        },
    }
    return planted | (_woman(word) if kind == "Patient" else _entry(planted, word))


def _woman(word: Any) -> Json:
    return {
        "name": [{"family": word("family"), "given": [word("given")], "text": word("name")}],
        "telecom": [
            {"system": "phone", "value": word("phone")},
            {"system": "email", "value": f"{word('email')}@x.org"},
        ],
        "address": [{"line": [word("address")], "city": word("city"), "postalCode": word("postcode")}],
        "contact": [{"name": {"family": word("contact")}, "relationship": [{"text": word("relationship")}]}],
        "communication": [{"language": {"text": word("language")}}],
        "generalPractitioner": [{"display": word("practitioner")}],
        "photo": [{"title": word("photo")}],
    }


def _entry(resource: Json, word: Any) -> Json:
    owner = "patient" if "patient" in resource else "subject"
    planted: Json = {
        "note": [{"text": word("note"), "authorString": word("note.author")}],
        "recorder": {"display": word("recorder")},
        "meta": resource["meta"]
        | {"security": [{"system": SYSTEM, "code": word("label"), "display": word("label.display")}]},
    }
    if isinstance(resource.get(owner), dict):
        planted[owner] = {**resource[owner], "display": word("subject")}
    for name in ("code", "medicationCodeableConcept"):
        if isinstance(coded := resource.get(name), dict):
            local = {"system": SYSTEM, "code": word("code"), "display": word("display")}
            codings = [{**one, "display": word("display of ours")} for one in coded.get("coding", [])]
            planted[name] = {**coded, "coding": [*codings, local]}
            if "text" not in coded:  # what we understand by its words is to be understood as before
                planted[name]["text"] = word("code.text")
    return planted


def _unreadable(her: Json, flock: Flock) -> Iterator[Json]:
    """Entries of hers whose codes, units, values and answers mean nothing to us."""

    def entry(kind: str, name: str, **members: Any) -> Json:
        owner = "patient" if kind == "AllergyIntolerance" else "subject"
        return {"resourceType": kind, "id": flock(f"id of {name}"), owner: her, **members}

    def coded(place: str) -> Json:
        coding = {"system": SYSTEM, "code": flock(f"{place}, code"), "display": flock(f"{place}, display")}
        return {"coding": [coding], "text": flock(f"{place}, words")}

    when = "2026-11-23T11:00:00Z"
    loinc = "http://loinc.org"
    yield entry("Condition", "a problem", code=coded("a problem"), recordedDate=flock("a date"))
    yield entry("Condition", "a problem without a code", code={"text": flock("a problem in words")}, recordedDate=when)
    yield entry(
        "MedicationRequest",
        "a medicine",
        status="active",
        intent="order",
        medicationCodeableConcept=coded("a medicine"),
        dosageInstruction=[{"text": flock("a dosage"), "patientInstruction": flock("an instruction")}],
        reasonCode=[{"text": flock("why a medicine")}],
        requester={"display": flock("who ordered")},
    )
    yield entry(
        "AllergyIntolerance",
        "an allergy",
        code=coded("an allergy"),
        reaction=[{"description": flock("a reaction"), "manifestation": [{"text": flock("a manifestation")}]}],
    )
    yield entry(
        "Observation",
        "a weight in an odd unit",
        status="final",
        effectiveDateTime=when,
        code={"coding": [{"system": loinc, "code": "29463-7"}]},
        valueQuantity={"value": 151, "unit": flock("a unit"), "system": SYSTEM, "code": flock("a unit's code")},
        method={"text": flock("a method")},
        device={"display": flock("a device")},
    )
    yield entry(
        "Observation",
        "a screen in words",
        status="final",
        effectiveDateTime=when,
        code={"coding": [{"system": loinc, "code": "71354-5"}]},
        valueString=flock("a value in words"),
        component=[{"code": {"text": flock("a component")}, "valueString": flock("a component's value")}],
    )
    yield entry(
        "QuestionnaireResponse",
        "a form",
        status="completed",
        authored=when,
        questionnaire=f"https://x.example.org/{flock('a canonical')}",
        author={"display": flock("an author")},
        item=[
            {"linkId": flock("a link"), "text": flock("a question"), "answer": [{"valueString": flock("an answer")}]}
        ],
    )
    yield entry(
        "Procedure",
        "a procedure",
        status="completed",
        code=coded("a procedure"),
        performedString=flock("when in words"),
        outcome={"text": flock("an outcome")},
        performer=[{"actor": {"display": flock("who did it"), "reference": f"Practitioner/{flock('a reference')}"}}],
    )


# ---- In a call


def in_call(request: Json, flock: Flock, *, legible: bool = False) -> Json:
    """
    The call with canaries in its chart, its drafts, its ids and in everything around them.

    Unless it is to be `legible`, its chart also gets entries that nobody here can read: then no medicine is offered.
    """
    planted = deepcopy(request)
    for bundle in planted["prefetch"].values():
        _in_bundle(bundle, flock)
    held = [entry for bundle in planted["prefetch"].values() for entry in bundle.get("entry", [])]
    for entry in held:
        entry["resource"] = _in_resource(entry["resource"], flock)
    woman = planted["prefetch"]["patient"] = _in_resource(planted["prefetch"]["patient"], flock)
    if not legible:
        _file(planted["prefetch"], _unreadable({"reference": f"Patient/{woman['id']}"}, flock))
    planted["prefetch"][flock("a prefetch key")] = {"resourceType": "Basic", "id": flock("a resource of no use")}
    for entry in planted["context"]["draftOrders"]["entry"]:
        entry["resource"] = _in_draft(entry["resource"], flock)
    planted["context"][flock("a member of the context")] = flock("a value of the context")
    planted["extension"] = {flock("an extension"): {"url": flock("a value of an extension")}}
    planted[flock("a member")] = flock("a value")
    return _with_new_ids(planted, flock)


def _in_bundle(bundle: Json, flock: Flock) -> None:
    if bundle.get("resourceType") == "Bundle":
        bundle["id"] = flock("a bundle")
        for link in bundle["link"]:
            link["url"] += f"?{flock('a query of a link')}"
        for entry in bundle.get("entry", []):
            entry["fullUrl"] = f"https://ehr.example.org/{flock('a full URL')}/{entry['resource']['id']}"


# Under which key of the prefetch an entry of this type is looked for.
_KEYS = {
    "Condition": "problems",
    "MedicationRequest": "medication_orders",
    "AllergyIntolerance": "allergies",
    "QuestionnaireResponse": "questionnaire_responses",
    "Procedure": "procedures",
}


def _file(prefetch: Json, more: Iterable[Json]) -> None:
    for resource in more:
        code = resource.get("code", {}).get("coding", [{}])[0].get("code")
        key = _KEYS.get(resource["resourceType"], "vital_signs" if code == "29463-7" else "screens")
        prefetch[key].setdefault("entry", []).append({"resource": resource, "search": {"mode": "match"}})


def _in_draft(order: Json, flock: Flock) -> Json:
    kind = order["resourceType"]
    planted = _in_resource(order, flock)
    planted["reasonCode"] = [*order.get("reasonCode", []), {"text": flock(f"why the drafted {kind}")}]
    planted["requester"] = {"display": flock(f"who drafts the {kind}")}
    planted["dosageInstruction" if kind == "MedicationRequest" else "patientInstruction"] = (
        [{"text": flock("a drafted dosage"), **part} for part in order.get("dosageInstruction", [{}])]
        if kind == "MedicationRequest"
        else flock("an instruction of a draft")
    )
    return planted


def _with_new_ids(request: Json, flock: Flock) -> Json:
    """Her id, her stay's and all others become canaries, wherever they stand."""
    woman, stay = request["context"]["patientId"], request["context"]["encounterId"]
    text = json.dumps(request).replace(woman, flock("her id")).replace(stay, flock("her stay"))
    text = text.replace(f"{woman.removeprefix('woman-')}-", f"{flock('the ids of her entries')}-")
    planted: Json = json.loads(text)
    planted["hookInstance"] = flock("hookInstance")
    planted["context"]["userId"] = f"Practitioner/{flock('userId')}"
    return planted


def with_leave(request: Json, base: str, flock: Flock) -> Json:
    """The call of an EHR that may be read, at an address and with a token that are nobody else's business."""
    return request | {
        "fhirServer": base,
        "fhirAuthorization": {
            "access_token": flock("access_token"),
            "token_type": "Bearer",
            "expires_in": 300,
            "scope": f"patient/*.rs {flock('scope')}",
            "subject": flock("subject"),
        },
    }


def headers(flock: Flock) -> dict[str, str]:
    """What a browser, a proxy or a careless client says about a patient around the call itself."""
    return {
        "Authorization": f"Bearer {jwt(flock)}",
        "Cookie": f"session={flock('a cookie')}",
        "Referer": f"https://ehr.example.org/chart/{flock('a referer')}",
        "Traceparent": f"00-{flock('a trace')}-01",
        "User-Agent": flock("a user agent"),
        "X-Forwarded-For": flock("a forwarded address"),
        "X-Request-Id": flock("a request id"),
    }


def jwt(flock: Flock, **header: Any) -> str:
    """A token with a canary in its header, each claim and its signature. Nobody signed it."""
    head = {"alg": "ES384", "typ": "JWT", "kid": flock("kid")} | header
    claims = {name: flock(f"claim {name}") for name in ("iss", "sub", "jti", "tenant", "aud")}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (head, claims)]
    return ".".join([*parts, flock("a signature") + "A" * (4 - len(flock("a signature")) % 4)])
