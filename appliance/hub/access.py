"""Who may ask, and how every refusal reads: the two layers around each handler."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
from aiohttp import web

from appliance.clock import now_ms
from appliance.errors import ApplianceError, DatabaseError, DiskFullError, HubRefusedError
from appliance.hub.credentials import Credential, accepts, parse_bearer
from appliance.hub.index import sites
from appliance.hub.index.database import Index
from appliance.hub.intake import RevokedError, translated
from appliance.hub.parts import PARTS
from appliance.logs import get_logger
from appliance.mistakes import where
from appliance.upload import server as tus
from appliance.upload.headers import RESUMABLE, RETRY_AFTER, TUS_VERSION

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CREDENTIAL: Final = web.RequestKey("credential", Credential)
_SEEN_MS: Final = 60_000  # a site's last sign of life is written at most this often
_RETRY: Final = {RETRY_AFTER: str(tus.RETRY_SECONDS)}

log = get_logger()


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns every error into an answer with a JSON body `{"error", "message", "hint"}`, without patient data."""
    try:
        response = await handler(request)
    except tus.TusError as error:
        response = refusal(error.answer.status, error.answer.message, headers=error.answer.headers)
    except RevokedError:
        response = unauthorized()
    except DiskFullError as error:
        response = refusal(507, error.message, error, _RETRY)
    except DatabaseError as error:
        log.error("the index can't be used", error_id=error.id, reason=error.message)
        response = refusal(503, "The hub can't write its index now", error, _RETRY)
    except OSError as error:
        response = _answer_disk(error)
    except web.HTTPException as error:
        response = refusal(error.status, error.reason or "", headers=_allow(error))
    # The last line of defence: one request that meets a bug of ours is answered, logged, and disturbs no other.
    except Exception as error:  # noqa: BLE001
        log.error("a request failed", exception=type(error).__name__, method=request.method, code=where(error))
        response = refusal(500, "The hub made a mistake; this request changed nothing")
    response.headers["Server"] = "appliance"
    if request.path.startswith("/v1/uploads"):
        response.headers.setdefault(RESUMABLE, TUS_VERSION)
    return response


def _answer_disk(error: OSError) -> web.Response:
    problem = translated(error)
    if isinstance(problem, DiskFullError):
        return refusal(507, problem.message, problem, _RETRY)
    log.error("the hub's disk fails", exception=type(error).__name__, code=error.errno)
    return refusal(503, "The hub's disk fails", headers=_RETRY)


def _allow(error: web.HTTPException) -> Mapping[str, str]:
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}


@web.middleware
async def require_site(request: web.Request, handler: Handler) -> web.StreamResponse:
    """401 unless the request shows the secret of a site that is not revoked; the same answer for every cause."""
    credential = parse_bearer(request.headers.get("Authorization"))
    parts = request.app[PARTS]
    if credential is None or not await parts.blocking(_let_in, parts.index, credential):
        return unauthorized()
    request[CREDENTIAL] = credential
    return await handler(request)


def _let_in(index: Index, credential: Credential) -> bool:
    now = now_ms()
    with index.read() as connection:
        site = sites.find(connection, credential.site)
    if not accepts(site, credential) or site is None:
        return False
    if site.seen_at is None or not 0 <= now - site.seen_at < _SEEN_MS:
        with index.write() as connection:
            sites.seen(connection, site.id, now)
    return True


def unauthorized() -> web.Response:
    """401, the same for a wrong, a revoked and a missing credential."""
    error = HubRefusedError()
    return refusal(401, error.message, error, {"WWW-Authenticate": "Bearer"})


def refusal(
    status: int, message: str, error: ApplianceError | None = None, headers: Mapping[str, str] | None = None
) -> web.Response:
    """An answer that says what is wrong, for machines and for the person who reads the unit's log."""
    body = {"error": error.id if error else f"HTTP {status}", "message": message, "hint": error.hint if error else ""}
    return web.Response(status=status, text=json.dumps(body), content_type="application/json", headers=headers)


def answer_json(value: msgspec.Struct) -> web.Response:
    """200 with the value as JSON; never cached on the way."""
    return web.Response(
        body=msgspec.json.encode(value), content_type="application/json", headers={"Cache-Control": "no-store"}
    )
