"""The languages that an agent speaks, and its voice in each."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("agent") as agent:
        agent.add_column(sa.Column("voices", sa.JSON(), nullable=False, server_default="{}"))
        agent.add_column(sa.Column("languages", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    with op.batch_alter_table("agent") as agent:
        agent.drop_column("languages")
        agent.drop_column("voices")
