"""Accounts take turns: whose oldest job is next is found without reading the jobs behind it."""

import sqlalchemy as sa
from alembic import op

from shared.sql.functions import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

WAITS = sa.text("waits_since IS NOT NULL")
LEADING = sa.text("leads_since IS NOT NULL")
LEASED = sa.text("lease_expires_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("job", sa.Column("waits_since", UtcDateTime(), nullable=True))
    op.add_column("job", sa.Column("leads_since", UtcDateTime(), nullable=True))  # a reconciler sets it
    op.execute("UPDATE job SET waits_since = created_at WHERE status = 'queued' AND dispatched_at IS NOT NULL")
    op.create_index("ix_job_waits", "job", ["owner_id", "waits_since"], sqlite_where=WAITS, postgresql_where=WAITS)
    op.create_index("ix_job_leading", "job", ["leads_since"], sqlite_where=LEADING, postgresql_where=LEADING)
    op.create_index("ix_job_running", "job", ["owner_id"], sqlite_where=LEASED, postgresql_where=LEASED)


def downgrade() -> None:
    op.drop_index("ix_job_running", table_name="job")
    op.drop_index("ix_job_leading", table_name="job")
    op.drop_index("ix_job_waits", table_name="job")
    with op.batch_alter_table("job") as job:
        job.drop_column("leads_since")
        job.drop_column("waits_since")
