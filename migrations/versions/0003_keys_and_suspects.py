"""Idempotency keys; who runs a job, and one suspect at a time for each worker."""

import sqlalchemy as sa
from alembic import op

from shared.sql.functions import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SUSPECT = sa.text("status = 'running' AND lost_leases >= 2")


def upgrade() -> None:
    op.add_column("job", sa.Column("worker_id", sa.Uuid(), nullable=True))
    op.create_index(
        "uq_job_running_suspect", "job", ["worker_id"], unique=True, sqlite_where=SUSPECT, postgresql_where=SUSPECT
    )
    op.create_table(
        "idempotency_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("resource_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["user.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("uq_idempotency_key", "idempotency_key", ["owner_id", "key"], unique=True)
    op.create_index("ix_idempotency_created", "idempotency_key", ["created_at"])


def downgrade() -> None:
    op.drop_table("idempotency_key")
    op.drop_index("uq_job_running_suspect", table_name="job")
    with op.batch_alter_table("job") as job:
        job.drop_column("worker_id")
