"""What a start refuses, in the start's own words, and which check each line belongs to; with the way to mend it."""

from __future__ import annotations

import re
from typing import Final

from cds_service.doctor.findings import Trouble, fail

NEW_KEY: Final = "python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
_KEYS: Final = "ask the EHR's team for their public keys as a JWKS, and say which algorithms they sign with"
_MAPS: Final = "names of concepts stand in cds_service/knowledge/value_sets, of orders in tables/orders.toml"

# The first line of the table that fits counts. The words on the left are those of `settings`, `tenants`, `approval`,
# `gathering`, `loader` and `database`.
REFUSALS: Final[tuple[tuple[str, str, str], ...]] = (
    ("whoever signs in", "insights", "set CDS_PUBLIC_BASE_URL to the address at which browsers reach the service"),
    ("CDS_PUBLIC_BASE_URL: missing", "base-url", "set it to the address at which the EHR calls, with https"),
    ("CDS_PUBLIC_BASE_URL", "base-url", "write the address at which the EHR calls, as in https://cds.example.org"),
    ("CDS_AUDIT_KEY", "audit-key", f"set it to a new key, and keep it: {NEW_KEY}"),
    ("CDS_METRICS_TOKEN", "metrics", "take 16 or more letters and digits without a blank"),
    ("CDS_INSIGHTS_TOKEN", "insights", "take 16 or more letters and digits without a blank"),
    ("CDS_INSIGHTS_OIDC_", "insights", "set the four of them together, as your provider of identities gave them"),
    ("CDS_CORS_ORIGINS", "origins", "write each as a browser sends it: no path, no slash at the end, never a star"),
    ("would show the inside of this program", "debugging", "unset it"),
    ("no such language", "language", "take one of those that are there, or leave out `language` for English"),
    ("not an IANA time zone", "time-zone", "write it as in Europe/Berlin, or America/Chicago"),
    ("means: no such concept", "code-maps", _MAPS),
    ("local.", "code-maps", "each [[local]] has means, and words or codes with their system"),
    ("orderable.", "code-maps", _MAPS),
    ("role.", "code-maps", "topics stand in tables/topics.toml; docs/site.example.toml shows [[role]]"),
    ("CFG01", "protocol", "take out [protocol], or enable the one whose medicine is marketed in that country"),
    (
        "protocol.strength",
        "protocol",
        "stock that strength, or leave out [protocol]: another needs a protocol of its own",
    ),
    ("protocol", "protocol", "take an id of tables/protocols.toml, with approval and strength_mg_per_ml"),
    ("review.knowledge: signed", "signature", "see what `knowledge diff` says, sign, and write what `check` prints"),
    ("ehr.servers", "ehr-servers", "name the FHIR base URL with https: scheme, host and path, and nothing after it"),
    ("ehr.questionnaires", "forms", "name a folder of FHIR Questionnaires (JSON), each with its url"),
    ("ehr.budget_ms", "budget", "take 50 to 60000 milliseconds; 400 fits most EHRs"),
    ("no such folder of value sets", "terminology", "name the folder beside the site file, or with its whole path"),
    ("not an expanded FHIR ValueSet", "terminology", "save each as FHIR JSON with expansion.contains"),
    ("cannot be a code", "terminology", "export that ValueSet anew: the code lost a digit"),
    ("has it, too, and no tenant_claim", "same-issuer", "give each of the two the tenant_claim of its tokens"),
    ("is there twice", "same-issuer", "give each tenant an id of its own"),
    ("CDS Hooks Sandbox", "sandbox-key", "take it out: anybody can sign as the Sandbox; to develop, add --insecure"),
    ("either jwks or", "jwks", "name either jwks, an https URL, or jwks_file, a file"),
    (
        "private key material",
        "jwks-keys",
        "that key is burnt: let the EHR's team make a new one, and send its public half",
    ),
    ("jwks_file", "jwks-keys", _KEYS),
    ("a key ", "jwks-keys", _KEYS),
    ("jwks: not https", "jwks", "ask for the https address of the keys: else anybody on the way can change them"),
    ("jwks", "jwks", "write the https URL of the keys: scheme, host, port and path alone"),
    ("cors_origins", "origins", "write each as a browser sends it: no path, no slash at the end, never a star"),
)
_FILES: Final = re.compile(r"^.*\.toml: ")
_OURS: Final = ("tables/", "value_sets/", "cards/")


def explained(line: str, *, tenants: bool) -> tuple[str, Trouble]:
    """The check to which a refusal belongs, and the refusal with its mend. `tenants`: there is a tenants file."""
    if line.startswith(_OURS):
        return "knowledge", _told(line, "put back the file as it was released; `check` names every defect")
    said = _FILES.sub("", line)  # the name of a file or folder is no word of ours
    for words, check, mend in REFUSALS:
        if words in said:
            return check, _told(line, mend)
    if tenants:
        mend = "docs/tenants.example.toml shows every key, docs/site.example.toml those of a site"
        return "tenants-file", _told(line, mend)
    return "site-file", _told(line, "docs/site.example.toml shows every key")


def _told(line: str, mend: str) -> Trouble:
    """Of `tenants.toml: tenant.0.issuer: what`, the file is where it is."""
    where, _, what = line.partition(": ")
    return fail(where, _ended(what), mend) if what else fail("", _ended(line), mend)


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?")) else f"{sentence}."
