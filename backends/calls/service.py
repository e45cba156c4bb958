"""A service behind HTTP: where it is, which key it takes, and how errors name it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import AnyStr, Final, Literal

from pydantic import SecretStr

from soundflow.schemas.base import InputError
from soundflow.schemas.llm import http_url

OPENAI_URL: Final = "https://api.openai.com/v1"
SHORTEST_SECRET: Final = 8
"""Characters. Shorter keys are placeholders such as `none`, which may occur in any text."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service behind HTTP. Holds no secret: the key is read from the environment when the first call is made."""

    name: str
    """What it is, such as `the language model`."""
    url: str
    """Base URL without a trailing slash."""
    section: str
    """Config section that holds `base_url` and `api_key_env`, such as `llm.server`."""
    key_variable: str = ""
    """Environment variable that holds the API key; empty if no key is sent."""
    key_header: str = "Authorization"
    """`Authorization` carries a bearer token, any other header the bare key."""
    needs_key: bool = False
    """Whether calls without a key are pointless."""
    refusal_hint: str = ""
    """Appended to the error when the service refuses a request."""
    protocol: Literal["http", "openai"] = "http"
    """Whether requests are plain POSTs or calls of the OpenAI SDK."""

    def label(self, detail: str = "") -> str:
        """Return name, address and `detail` (role, model) for an error message."""
        return f"{self.name} at {self.url}" + (f" ({detail})" if detail else "")

    def credentials(self) -> tuple[SecretStr, dict[str, str]]:
        """Return the key (empty if there is none) and the header that carries it.

        Raises InputError if the key is required and missing, if it is malformed, or if the URL is.
        """
        try:
            http_url(self.url)
        except ValueError as error:
            remedy = f"Correct {self.section}.base_url, or OPENAI_BASE_URL in the environment"
            raise InputError(f"the address of {self.name} {error}", field=self.section, remedy=remedy) from None
        key = os.environ.get(self.key_variable, "").strip() if self.key_variable else ""
        if any(not 33 <= ord(character) <= 126 for character in key):
            why = f"the API key in {self.key_variable} contains characters that cannot occur in a key"
            raise InputError(why, field=self.section, remedy="Set the environment variable again")
        if self.needs_key and not key:
            remedy = f"Set it in the environment, or configure a service that needs no key ({self.section})"
            raise InputError(f"{self.name} needs an API key: {self.key_variable} is not set", field=self.section, remedy=remedy)
        value = f"Bearer {key}" if self.key_header == "Authorization" else key
        return SecretStr(key), {self.key_header: value} if key else {}


def openai_service(name: str, section: str, base_url: str | None, key_variable: str, refusal_hint: str = "") -> Service:
    """Return an OpenAI-compatible service: at `base_url`, else $OPENAI_BASE_URL, else OpenAI itself (which needs a key)."""
    url = base_url or os.environ.get("OPENAI_BASE_URL", "").rstrip("/")
    hint = refusal_hint
    return Service(name, url or OPENAI_URL, section, key_variable, needs_key=not url, refusal_hint=hint, protocol="openai")


def scrubbed(content: AnyStr, key: SecretStr) -> AnyStr:
    """Return `content` with every occurrence of the key replaced."""
    secret = key.get_secret_value()
    if len(secret) < SHORTEST_SECRET:
        return content
    if isinstance(content, bytes):
        return content.replace(secret.encode(), b"[api key]")
    return content.replace(secret, "[api key]")
