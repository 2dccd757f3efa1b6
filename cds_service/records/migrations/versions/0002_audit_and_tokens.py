"""The audit trail, which only grows, and the tokens that were spent."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")

# Nothing is changed, ever. A row goes only after an anchor stands for it.
_SQLITE = """
CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail only grows'); END

CREATE TRIGGER audit_kept BEFORE DELETE ON audit
WHEN OLD.number > (SELECT coalesce(max(number), 0) FROM audit_anchor)
BEGIN SELECT RAISE(ABORT, 'the audit trail only grows'); END

CREATE TRIGGER audit_anchor_unchanged BEFORE UPDATE ON audit_anchor
BEGIN SELECT RAISE(ABORT, 'the audit trail only grows'); END

CREATE TRIGGER audit_anchor_kept BEFORE DELETE ON audit_anchor
BEGIN SELECT RAISE(ABORT, 'the audit trail only grows'); END
"""
_POSTGRESQL = """
CREATE FUNCTION audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION 'the audit trail only grows'; END$$

CREATE FUNCTION audit_is_anchored() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN
IF OLD.number > (SELECT coalesce(max(number), 0) FROM audit_anchor)
THEN RAISE EXCEPTION 'the audit trail only grows'; END IF;
RETURN OLD; END$$

CREATE TRIGGER audit_unchanged BEFORE UPDATE OR TRUNCATE ON audit
EXECUTE FUNCTION audit_only_grows()

CREATE TRIGGER audit_kept BEFORE DELETE ON audit
FOR EACH ROW EXECUTE FUNCTION audit_is_anchored()

CREATE TRIGGER audit_anchor_unchanged BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_anchor
EXECUTE FUNCTION audit_only_grows()
"""


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("user_pseudonym", sa.String(32)),
        sa.Column("service", sa.String(64), nullable=False),
        sa.Column("hook", sa.String(64), nullable=False),
        sa.Column("hook_instance", sa.String(36), nullable=False),
        sa.Column("patient_pseudonym", sa.String(32), nullable=False),
        sa.Column("knowledge", sa.String(80), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("status", sa.String(64)),
        sa.Column("criteria", sa.Text, nullable=False),
        sa.Column("topics", sa.Text, nullable=False),
        sa.Column("cards", sa.Text, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_index("audit_patient", "audit", ["tenant", "patient_pseudonym", "at"])
    op.create_table(
        "audit_anchor",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("removed", sa.BigInteger, nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
    )
    op.create_table(
        "spent_token",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_spent_token_until", "spent_token", ["until"])
    script = _POSTGRESQL if op.get_bind().dialect.name == "postgresql" else _SQLITE
    for statement in script.strip().split("\n\n"):
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("spent_token")
    op.drop_table("audit_anchor")
    op.drop_table("audit")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_only_grows()")
        op.execute("DROP FUNCTION audit_is_anchored()")
