"""Why a reply ended, and what its model thought."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("agent") as agent:
        agent.add_column(sa.Column("show_reasoning", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("message") as message:
        message.add_column(sa.Column("finish_reason", sa.String(length=20), nullable=True))
        message.add_column(sa.Column("reasoning", sa.Text(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("message") as message:
        message.drop_column("reasoning")
        message.drop_column("finish_reason")
    with op.batch_alter_table("agent") as agent:
        agent.drop_column("show_reasoning")
