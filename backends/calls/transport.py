"""The HTTP client of a service, used as it is or by the official OpenAI SDK.

`Service.protocol` decides: for `openai`, the SDK builds and sends the request; for `http`, a plain POST is sent. Both share one
httpx2 client, so deadline, size limits, redirects and the key are treated alike. The SDK does not retry: `metered_call` does.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from operator import attrgetter
from typing import Any, Final

import httpx2
import openai
from pydantic import SecretStr

from soundflow.backends.calls.service import OPENAI_URL, Service

CONNECT_SECONDS: Final = 15.0
ERROR_BYTES: Final = 10_000
"""Of the body of an error that are read."""
SENT_HEADERS: Final = frozenset(
    {"accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "host", "transfer-encoding"}
    | {"user-agent", "xi-api-key"}
)
"""Headers that a service other than OpenAI's own receives, besides x-stainless-*. The SDK would add the values of OPENAI_ORG_ID,
OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS."""

Hooks = dict[str, list[Callable[..., Any]]]


class _ErrorBody(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """The beginning of the body of an error. The SDK reads such a body to its end, however long it is."""

    def __init__(self, stream: Any, deadline: float):
        self._stream, self._deadline, self._size = stream, deadline, 0

    def _is_enough(self, block: bytes) -> bool:
        self._size += len(block)
        if time.monotonic() > self._deadline:
            raise TimeoutError
        return self._size >= ERROR_BYTES

    def __iter__(self) -> Iterator[bytes]:
        for block in self._stream:
            yield block
            if self._is_enough(block):
                return

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for block in self._stream:
            yield block
            if self._is_enough(block):
                return

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Transport:
    """What both transports share. Reads the key from the environment; raises InputError (see `Service.credentials`)."""

    def __init__(self, service: Service, seconds: float):
        self.key: SecretStr
        self._service, self._seconds = service, seconds
        self.key, self._headers = service.credentials()

    def _http_options(self) -> dict[str, Any]:
        return {
            "headers": {"Accept-Encoding": "identity", "User-Agent": "soundflow"} | self._headers,
            "timeout": httpx2.Timeout(self._seconds, connect=min(CONNECT_SECONDS, self._seconds)),
            "limits": httpx2.Limits(max_connections=None),
            "follow_redirects": False,
        }

    def _sdk_options(self) -> dict[str, Any]:
        key = self.key.get_secret_value() or "none"  # the SDK requires one; `_on_request` removes it
        return {
            "api_key": key,
            "base_url": self._service.url,
            "max_retries": 0,
            "default_headers": {"Authorization": f"Bearer {key}"},
        }

    def _on_request(self, request: httpx2.Request) -> None:
        request.extensions["deadline"] = time.monotonic() + self._seconds
        if not self._headers:
            request.headers.pop("Authorization", None)
        if self._service.url != OPENAI_URL:
            for name in set(request.headers) - SENT_HEADERS:
                if not name.startswith("x-stainless-"):
                    del request.headers[name]

    def _on_response(self, response: httpx2.Response) -> None:
        if not response.is_success:
            response.headers.pop("content-encoding", None)
            response.stream = _ErrorBody(response.stream, response.request.extensions["deadline"])


def resource(client: Any, path: str) -> Any:
    """Return the resource of the SDK that posts to `path`, such as `client.chat.completions` for `/chat/completions`."""
    return attrgetter(path.strip("/").replace("/", "."))(client)


class AsyncTransport(_Transport):
    """Transport for one event loop."""

    def __init__(self, service: Service, seconds: float):
        super().__init__(service, seconds)

        async def on_request(request: httpx2.Request) -> None:
            self._on_request(request)

        async def on_response(response: httpx2.Response) -> None:
            self._on_response(response)

        hooks: Hooks = {"request": [on_request], "response": [on_response]}
        self._http = httpx2.AsyncClient(**self._http_options(), event_hooks=hooks)
        is_sdk = service.protocol == "openai"
        self._sdk = openai.AsyncOpenAI(**self._sdk_options(), http_client=self._http) if is_sdk else None

    @asynccontextmanager
    async def post(self, path: str, content: Mapping[str, Any]) -> AsyncIterator[httpx2.Response]:
        """Send a request and yield its response, whatever its status; raises LINE_ERRORS. Read the body with `aiter_bytes`."""
        async with AsyncExitStack() as stack:
            if self._sdk is None:
                yield await stack.enter_async_context(self._http.stream("POST", self._service.url + path, **content))
                return
            try:
                create = resource(self._sdk, path).with_streaming_response.create(**content)
                response = (await stack.enter_async_context(create)).http_response
            except openai.APIStatusError as error:
                response = error.response
            except openai.APIConnectionError as error:
                raise error.__cause__ or error from None
            yield response

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()


class BlockingTransport(_Transport):
    """Transport for threads."""

    def __init__(self, service: Service, seconds: float):
        super().__init__(service, seconds)
        hooks: Hooks = {"request": [self._on_request], "response": [self._on_response]}
        self._http = httpx2.Client(**self._http_options(), event_hooks=hooks)
        self._sdk = openai.OpenAI(**self._sdk_options(), http_client=self._http) if service.protocol == "openai" else None

    @contextmanager
    def post(self, path: str, content: Mapping[str, Any]) -> Iterator[httpx2.Response]:
        """See `AsyncTransport.post`."""
        with ExitStack() as stack:
            if self._sdk is None:
                yield stack.enter_context(self._http.stream("POST", self._service.url + path, **content))
                return
            try:
                create = resource(self._sdk, path).with_streaming_response.create(**content)
                response = stack.enter_context(create).http_response
            except openai.APIStatusError as error:
                response = error.response
            except openai.APIConnectionError as error:
                raise error.__cause__ or error from None
            yield response

    def close(self) -> None:
        """Close all connections."""
        self._http.close()


LINE_ERRORS: Final = (httpx2.HTTPError, OSError, openai.APIConnectionError)
"""What a broken connection raises."""
