"""POST /pgsqlinit: runs the migrations, as `sluice migrate` does."""

from __future__ import annotations

from werkzeug.wrappers import Response

from functions.api.auth.guard import require_admin
from functions.api.http import Call, HttpError


def upgrade(call: Call) -> Response:
    """Upgrade the database to the newest schema. Idempotent. Answers with an empty body, as operator-service does."""
    require_admin(call)
    from functions.store.migrate import MigrationsMissing, migrate

    try:
        migrate(call.app.settings.database)
    except MigrationsMissing as e:
        raise HttpError(501, str(e)) from None
    return Response("", 200, content_type="text/html; charset=utf-8")
