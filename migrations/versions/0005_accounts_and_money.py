"""Accounts, their logins and keys; what a step cost, what a job holds back and what it has been charged."""

import unicodedata

import sqlalchemy as sa
from alembic import op

from shared.models import LOCAL_USER_ID
from shared.money import Money
from shared.sql.functions import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MAX_USERNAME = 100
UNFINISHED = sa.text("status IN ('queued', 'running')")


def upgrade() -> None:
    with op.batch_alter_table("user") as user:
        user.add_column(sa.Column("password_hash", sa.String(length=200), nullable=True))
        user.add_column(sa.Column("role", sa.String(length=20), nullable=False, server_default="user"))
        user.add_column(sa.Column("disabled", sa.Boolean(), nullable=False, server_default=sa.false()))
        user.add_column(sa.Column("balance", Money(), nullable=True))
        user.add_column(sa.Column("reserved", Money(), nullable=False, server_default="0"))
        user.add_column(sa.Column("allowed_models", sa.JSON(), nullable=True))
        for limit in ("requests_per_minute", "jobs_at_a_time", "audio_minutes_per_day", "tokens_per_day"):
            user.add_column(sa.Column(limit, sa.Integer(), nullable=True))
    table = sa.table("user", sa.column("id", sa.Uuid()), sa.column("role"), sa.column("username"))
    op.execute(table.update().where(table.c.id == LOCAL_USER_ID).values(role="admin"))
    names = op.get_bind().execute(sa.select(table.c.id, table.c.username)).all()
    taken = {name for _, name in names}
    for user_id, name in names:  # they are kept folded from here on, where that is not another's name
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()
        if folded and len(folded) <= MAX_USERNAME and folded not in taken:
            taken.add(folded)
            op.execute(table.update().where(table.c.id == user_id).values(username=folded))
    op.create_table(
        "login",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("refresh_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["user.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_login_owner_id", "login", ["owner_id"])
    op.create_index("ix_login_expires_at", "login", ["expires_at"])
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("prefix", sa.String(length=20), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["owner_id"], ["user.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("prefix"),
    )
    op.create_index("ix_api_key_owner_page", "api_key", ["owner_id", "created_at", "id"])
    with op.batch_alter_table("usage") as usage:
        usage.add_column(sa.Column("cost", Money(), nullable=False, server_default="0"))
        usage.drop_index("ix_usage_owner_id")
        usage.create_index("ix_usage_owner", ["owner_id", "created_at"])
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("reserved", Money(), nullable=True))
        job.add_column(sa.Column("charged", Money(), nullable=False, server_default="0"))
    op.create_index(
        "ix_job_owner_unfinished", "job", ["owner_id"], sqlite_where=UNFINISHED, postgresql_where=UNFINISHED
    )


def downgrade() -> None:
    op.drop_index("ix_job_owner_unfinished", table_name="job")
    with op.batch_alter_table("job") as job:
        job.drop_column("charged")
        job.drop_column("reserved")
    with op.batch_alter_table("usage") as usage:
        usage.drop_index("ix_usage_owner")
        usage.create_index("ix_usage_owner_id", ["owner_id"])
        usage.drop_column("cost")
    op.drop_table("api_key")
    op.drop_table("login")
    with op.batch_alter_table("user") as user:
        for column in (
            "tokens_per_day", "audio_minutes_per_day", "jobs_at_a_time", "requests_per_minute", "allowed_models",
            "reserved", "balance", "disabled", "role", "password_hash",
        ):  # fmt: skip
            user.drop_column(column)
