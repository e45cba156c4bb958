"""Who may use the server: checks of Host, Origin and token, before anything else of a request is read.

Without a token the server is for this machine alone, and the browser is the way in for others: a page of another site (`Origin`),
or one whose host name was made to point to this machine (DNS rebinding, visible in `Host`). Both headers are therefore checked.
With a token, any host name is allowed, since a page of another site does not have the token.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from math import ceil
from typing import Final

from aiohttp import web
from pydantic import SecretStr

from soundflow.schemas.base import InputError
from soundflow.streaming import protocol
from soundflow.streaming.limits import FailedAttempts

SHORTEST_TOKEN: Final = 16
"""Minimum characters of a token."""
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(?::(\d{0,5}))?", re.IGNORECASE | re.ASCII)
_ORIGIN: Final = re.compile(r"(https?)://(.+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused, as an HTTP answer."""

    status: int
    code: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)


class Access:
    """Decides about requests. `proxies` are addresses whose `X-Forwarded-For` is believed."""

    def __init__(self, token: SecretStr | None, proxies: Collection[str] = ()):
        """Raises InputError for a token that is too short or cannot be sent in a header."""
        if token is not None:
            check_token(token)
        self._token, self._proxies = token, frozenset(proxies)
        self._failed = FailedAttempts()

    def check_site(self, request: web.Request) -> Refusal | None:
        """Return why a request may not come from where it comes: malformed or foreign Host, page of another site."""
        hosts = request.headers.getall("Host", [])
        host = parse_authority(hosts[0]) if len(hosts) == 1 else None
        if host is None:
            return Refusal(400, protocol.BAD_REQUEST, "the Host header is missing or malformed: send one, HOST or HOST:PORT")
        if self._token is None and not is_local(host[0]):
            why = "this server has no token, so it answers only to localhost, 127.0.0.1 and [::1] as Host"
            return Refusal(403, protocol.UNAUTHORISED, f"{why}: set SOUNDFLOW_TOKEN to serve under another name")
        if any(not _is_same_site(origin, host) for origin in request.headers.getall("Origin", [])):
            return Refusal(403, protocol.UNAUTHORISED, "requests from pages of other sites are refused")
        return None

    def check_token(self, request: web.Request) -> Refusal | None:
        """Return why a request is not authorised. A wrong token counts as a failed attempt of the client's address."""
        if self._token is None:
            return None
        given = _token_of(request)
        if given is None:
            return self._unauthorised("missing token")
        address = self._address(request)
        if wait := self._failed.wait(address):
            message = f"too many wrong tokens from this address: try again in {ceil(wait)} s"
            return Refusal(429, protocol.TOO_MANY_ATTEMPTS, message, {"Retry-After": str(ceil(wait))})
        # surrogates: bytes of a header that are not UTF-8
        wanted = self._token.get_secret_value().encode()
        if hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted):
            return None
        self._failed.add(address)
        return self._unauthorised("wrong token")

    def is_anonymous(self, request: web.Request) -> bool:
        """Whether a token is required and the request carries none. A wrong one is the matter of `check_token`."""
        return self._token is not None and _token_of(request) is None

    def _unauthorised(self, why: str) -> Refusal:
        message = f"{why}: send Authorization: Bearer TOKEN, or ?token="
        return Refusal(401, protocol.UNAUTHORISED, message, {"WWW-Authenticate": "Bearer"})

    def _address(self, request: web.Request) -> str:
        """Return the network of the client: an IPv4 address, or the 64 bits of an IPv6 address that one customer has."""
        address = request.remote or ""
        for forwarded in reversed(",".join(request.headers.getall("X-Forwarded-For", [])).split(",")):
            if address not in self._proxies:
                break
            address = forwarded.strip() or address
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return address
        if isinstance(parsed, ipaddress.IPv4Address):
            return str(parsed)
        return str(parsed.ipv4_mapped or ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))


def check_token(token: SecretStr) -> None:
    """Raise InputError for a token that is too short to be safe or contains what cannot be sent in a header."""
    value = token.get_secret_value()
    remedy = "Make one with: openssl rand -hex 16"
    if len(value) < SHORTEST_TOKEN:
        why = f"has {len(value)} characters, fewer than {SHORTEST_TOKEN}: it can be guessed"
        raise InputError(why, field="SOUNDFLOW_TOKEN", remedy=remedy)
    if not re.fullmatch(r"[!-~]+", value):
        raise InputError("contains spaces or characters other than ASCII", field="SOUNDFLOW_TOKEN", remedy=remedy)


def is_local(host: str) -> bool:
    """Whether a host name or address, as `parse_authority` returns it, can only mean this machine."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def parse_authority(text: str) -> tuple[str, int | None] | None:
    """Return host and port of `HOST`, `HOST:PORT` or `[IPv6]:PORT`; None when malformed.

    The host is in lower case, without brackets and without the trailing dot of a fully qualified name.
    """
    if (match := _AUTHORITY.fullmatch(text)) is None:
        return None
    host, port = match[1].lower(), int(match[2]) if match[2] else None
    if port is not None and port > 65535:
        return None
    if not host.startswith("["):
        return host.removesuffix(".") or ".", port
    try:
        return str(ipaddress.IPv6Address(host[1:-1])), port
    except ValueError:
        return None


def _is_same_site(origin: str, host: tuple[str, int | None]) -> bool:
    """Whether a page's Origin is the server it asks; false for `null` and for anything malformed."""
    match = _ORIGIN.fullmatch(origin)
    page = parse_authority(match[2]) if match else None
    if match is None or page is None:
        return False
    default = DEFAULT_PORTS[match[1].lower()]
    return (page[0], page[1] or default) == (host[0], host[1] or default)


def _token_of(request: web.Request) -> str | None:
    """Return the token of a request, from the header or else from the query; None without one."""
    for header in request.headers.getall("Authorization", []):
        scheme, _, token = header.partition(" ")
        if scheme.lower() == "bearer":
            return token.strip()
    return request.query.get("token")
