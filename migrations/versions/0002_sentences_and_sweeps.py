"""A step's own bytes, the language a voice note is announced in, and the reconciler's indexes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

PARTIAL = {
    "ix_job_queued": (["dispatched_at"], "status = 'queued'"),
    "ix_job_lease": (["lease_expires_at"], "status = 'running'"),
    "ix_job_unfinished": (["session_id", "seq"], "status IN ('queued', 'running')"),
}


def upgrade() -> None:
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("language_hint", sa.String(length=2), nullable=True))
    with op.batch_alter_table("step") as step:
        step.add_column(sa.Column("blob_id", sa.Uuid(), nullable=True))
        step.create_foreign_key("fk_step_blob", "blob", ["blob_id"], ["id"], ondelete="SET NULL")
        step.create_index("ix_step_blob_id", ["blob_id"])
    for name, (columns, where) in PARTIAL.items():
        op.create_index(name, "job", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def downgrade() -> None:
    for name in PARTIAL:
        op.drop_index(name, table_name="job")
    with op.batch_alter_table("step") as step:
        step.drop_index("ix_step_blob_id")
        step.drop_constraint("fk_step_blob", type_="foreignkey")
        step.drop_column("blob_id")
    with op.batch_alter_table("job") as job:
        job.drop_column("language_hint")
