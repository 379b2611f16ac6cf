"""The oldest waiting job is found without reading those behind it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

WAITING = sa.text("status = 'queued' AND run_at IS NULL")


def upgrade() -> None:
    op.create_index("ix_job_waiting", "job", ["created_at"], sqlite_where=WAITING, postgresql_where=WAITING)


def downgrade() -> None:
    op.drop_index("ix_job_waiting", table_name="job")
