"""Which tables the records have: feedback, the audit trail with its anchors, and the tokens that were spent."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, DateTime, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

SCHEMA: Final = MetaData()

FEEDBACK: Final = Table(
    "feedback",
    SCHEMA,
    # PostgreSQL spends a number on a repeat, too: they must not run out.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("service", String(64), nullable=False),
    Column("card", String(256), nullable=False),
    Column("suggestion", String(256), nullable=False),  # "" when it is about the card: NULLs would not be the same
    Column("outcome", String(16), nullable=False),
    Column("reason_system", String(256)),
    Column("reason_code", String(256)),
    Column("comment", Text),  # a patient's words may be in it: only where the site says so
    Column("outcome_at", DateTime(timezone=True)),
    Column("received_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("tenant", "card", "suggestion", "outcome", name="feedback_once"),
)

# Everything but the numbers is text, times too: what is hashed is what is stored, to the byte, in either database.
AUDIT: Final = Table(
    "audit",
    SCHEMA,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("previous", String(64), nullable=False),
    Column("at", String(32), nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("issuer", Text, nullable=False),
    Column("user_pseudonym", String(32)),
    Column("service", String(64), nullable=False),
    Column("hook", String(64), nullable=False),
    Column("hook_instance", String(36), nullable=False),
    Column("patient_pseudonym", String(32), nullable=False),
    Column("knowledge", String(80), nullable=False),
    Column("mode", String(16), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("status", String(64)),
    Column("criteria", Text, nullable=False),
    Column("topics", Text, nullable=False),
    Column("cards", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    Index("audit_patient", "tenant", "patient_pseudonym", "at"),
    Index("audit_at", "at"),
    Index("audit_hook_instance", "hook_instance"),
)

# Where the trail begins after old rows were removed: the last of them, its hash, how many went, and when.
AUDIT_ANCHOR: Final = Table(
    "audit_anchor",
    SCHEMA,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("hash", String(64), nullable=False),
    Column("removed", BigInteger, nullable=False),
    Column("at", String(32), nullable=False),
)

SPENT_TOKEN: Final = Table(
    "spent_token",
    SCHEMA,
    Column("digest", String(64), primary_key=True),  # of issuer and jti: no word of a token is kept
    Column("until", BigInteger, nullable=False, index=True),  # Unix time, in seconds
)
