"""operator-service's own tables, where they are not there already."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    there = set(sa.inspect(op.get_bind()).get_table_names())
    if "jobs" not in there:
        op.create_table(
            "jobs",
            sa.Column("agreementid", sa.String(255), nullable=False),
            sa.Column("workflowid", sa.String(255), nullable=False),
            sa.Column("owner", sa.String(255)),
            sa.Column("status", sa.Integer),
            sa.Column("statustext", sa.String(255)),
            sa.Column("laststatusupdate", sa.DateTime, server_default=sa.func.now()),
            sa.Column("datecreated", sa.DateTime, server_default=sa.func.now()),
            sa.Column("datefinished", sa.DateTime),
            sa.Column("configlogurl", sa.Text),
            sa.Column("publishlogurl", sa.Text),
            sa.Column("algologurl", sa.Text),
            sa.Column("outputsurl", sa.Text),
            sa.Column("ddo", sa.Text),
            sa.Column("namespace", sa.String(255)),
            sa.Column("stopreq", sa.SmallInteger, server_default=sa.text("0")),
            sa.Column("removed", sa.SmallInteger, server_default=sa.text("0")),
            sa.Column("workflow", sa.Text),
            sa.Column("provider", sa.String(255)),
        )
    if "envs" not in there:
        op.create_table(
            "envs",
            sa.Column("namespace", sa.String(255), nullable=False),
            sa.Column("status", sa.Text),
            sa.Column("lastping", sa.DateTime, server_default=sa.func.now()),
        )
    if "nonces" not in there:
        op.create_table(
            "nonces",
            sa.Column("provider", sa.String(255), nullable=False),
            sa.Column("nonce", sa.String(255)),
        )
    op.create_index(
        "uniq_agreementid_workflowid", "jobs", ["agreementid", "workflowid"], unique=True, if_not_exists=True
    )
    op.create_index("unique_namespace", "envs", ["namespace"], unique=True, if_not_exists=True)
