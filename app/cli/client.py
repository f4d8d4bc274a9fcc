"""The API over HTTP: paths below /api/v1, a bearer token, time limits on every call, and refusals as errors.

What can be repeated without harm (GET, PUT with If-Match, a POST with an idempotency key) is tried again when the
connection broke in the middle or the server asked for patience; a connection that is refused is told at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from app.cli.authentication import Credentials
from app.cli.configuration import Configuration
from app.cli.errors import NotLoggedIn, Silence, Unreachable
from app.cli.problems import refusal
from app.cli.server_url import API

CONNECT_LIMIT = 5.0  # seconds
ANSWER_LIMIT = 30.0
_TRIES = 3
_LONGEST_PATIENCE = 10.0  # of one Retry-After
_PAGE = 200
Query = Mapping[str, str | int | bool | Sequence[str] | None]


class Client:
    """One server and one user. Every method raises CliError: Unreachable, NotLoggedIn, NotPermitted or Refused."""

    def __init__(
        self,
        configuration: Configuration,
        credentials: Credentials,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = configuration.url
        self._credentials = credentials
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=configuration.url + API,
            timeout=httpx.Timeout(ANSWER_LIMIT, connect=CONNECT_LIMIT),
            headers={"User-Agent": "hotswap", "Accept": "application/json"},
            transport=transport,
            trust_env=not configuration.local,  # no proxy stands between us and this machine
        )

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, query: Query | None = None) -> Any:
        """The JSON of a resource."""
        return _json(self.request("GET", path, query=query))

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Query | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """The JSON that a POST answers; {} for an empty answer."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        repeatable = idempotency_key is not None
        return _json(self.request("POST", path, body=body, query=query, headers=headers, repeatable=repeatable))

    def pages(self, path: str, query: Query | None = None, most: int | None = None) -> Iterator[dict[str, Any]]:
        """The items of a list, newest first, at most `most`, page by page as they are consumed."""
        current: dict[str, str | int | bool | Sequence[str] | None] = dict(query or {})
        current["limit"] = min(most or _PAGE, _PAGE)
        given = 0
        while True:
            response = self.request("GET", path, query=current)
            for item in _json(response):
                yield item
                given += 1
                if most is not None and given >= most:
                    return
            following = response.links.get("next", {}).get("url")
            if not following:
                return
            # Only the query is taken: a page never leads to another server.
            current = dict(parse_qs(urlsplit(following).query, keep_blank_values=True))

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
    ) -> httpx.Response:
        """Send with the user's token. `repeatable` None: as the method is."""
        may_repeat = method in ("GET", "PUT") if repeatable is None else repeatable

        def send(token: str) -> httpx.Response:
            given = {**(headers or {}), "Authorization": f"Bearer {token}"}
            return self._http.request(method, path, json=body, params=_params(query), headers=given)

        return self._authorized(send, _TRIES if may_repeat else 1)

    def upload(self, path: str, fields: Mapping[str, str], name: str, file: Any, limit: float) -> httpx.Response:
        """A multipart POST that streams `file` (seekable) as `artifact`; `limit` are the seconds for the answer."""
        timeout = httpx.Timeout(limit, connect=CONNECT_LIMIT)

        def send(token: str) -> httpx.Response:
            file.seek(0)
            return self._http.post(
                path,
                data=dict(fields),
                files={"artifact": (name, file, "application/gzip")},
                headers={"Authorization": f"Bearer {token}"},
                timeout=timeout,
            )

        return self._authorized(send, _TRIES)  # the same bytes again are no second release

    @contextmanager
    def stream(
        self, path: str, headers: Mapping[str, str], query: Query | None = None, silence: float = ANSWER_LIMIT
    ) -> Iterator[httpx.Response]:
        """An answer whose body is read as it comes; a silence of more than `silence` seconds ends it as Unreachable."""
        timeout = httpx.Timeout(ANSWER_LIMIT, connect=CONNECT_LIMIT, read=silence)
        with _told(self.url):
            token = self._credentials.token(self.post_openly)
            for last in (False, True):
                given = {**headers, "Authorization": f"Bearer {token}"}
                with self._http.stream("GET", path, params=_params(query), headers=given, timeout=timeout) as response:
                    if response.status_code == httpx.codes.UNAUTHORIZED and not last:
                        response.read()
                        why = refusal(response, self.url)
                        token = self._credentials.renewed(
                            self.post_openly, token, why if isinstance(why, NotLoggedIn) else None
                        )
                        continue
                    if not response.is_success:
                        response.read()
                        raise refusal(response, self.url)
                    yield response
                    return

    def post_openly(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """A POST without a token: log in, renew, log out."""
        answer = _json(self._answered(lambda: self._http.post(path, json=body), 1))
        if not isinstance(answer, Mapping):
            raise Unreachable(f"{self.url} answered what is no HotSwap server's answer: is the URL right?")
        return answer

    def _authorized(self, send: Callable[[str], httpx.Response], tries: int) -> httpx.Response:
        token = self._credentials.token(self.post_openly)
        try:
            return self._answered(lambda: send(token), tries)
        except NotLoggedIn as why:
            renewed = self._credentials.renewed(self.post_openly, token, why)
            return self._answered(lambda: send(renewed), tries)

    def _answered(self, send: Callable[[], httpx.Response], tries: int) -> httpx.Response:
        """The answer, when it is a good one. Raises CliError."""
        for left in reversed(range(tries)):
            with _told(self.url):
                try:
                    response = send()
                except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                    if not left:
                        raise
                    self._sleep(0.3)
                    continue
            if response.is_success:
                return response
            patience = _patience(response)
            if not left or patience is None:
                raise refusal(response, self.url)
            self._sleep(patience)
        raise AssertionError("the last try returns or raises")


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Failures of the connection as one line that says what to do."""
    try:
        yield
    except httpx.ConnectTimeout:
        raise Unreachable(f"{url} does not answer: no connection within {CONNECT_LIMIT:g} s") from None
    except httpx.TimeoutException:
        raise Silence(f"{url} took too long to answer: try again, or look at {url}/health/ready") from None
    except httpx.ConnectError as error:
        raise Unreachable(_no_connection(url, str(error))) from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise Unreachable(f"{url} is no usable URL of a server") from None
    except httpx.HTTPError as error:
        raise Unreachable(f"the connection to {url} broke: {str(error) or type(error).__name__}; try again") from None


def _no_connection(url: str, error: str) -> str:
    if "CERTIFICATE" in error.upper():
        return f"cannot trust the certificate of {url}: {error}; SSL_CERT_FILE can name your own CA"
    if "refused" in error.lower():
        what_to_do = "is it running? `hotswap up` starts one here; --url or HOTSWAP_URL name another"
        return f"cannot reach {url}: connection refused; {what_to_do}"
    return f"cannot reach {url}: {error or 'no connection'}; --url or HOTSWAP_URL name another server"


def _patience(response: httpx.Response) -> float | None:
    """Seconds to wait before another try, or None for an answer that stays."""
    if response.status_code not in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
        return None
    try:
        seconds = float(response.headers.get("Retry-After", "1"))
    except ValueError:
        return None
    return max(seconds, 0.1) if seconds <= _LONGEST_PATIENCE else None


def _params(query: Query | None) -> httpx.QueryParams:
    """A name for each value of what has several."""
    given: list[tuple[str, str]] = []
    for key, value in (query or {}).items():
        if value is None:
            continue
        values = [value] if isinstance(value, str | int) else value
        given += [(key, str(each).lower() if isinstance(each, bool) else str(each)) for each in values]
    return httpx.QueryParams(tuple(given))


def _json(response: httpx.Response) -> Any:
    if not response.content:
        return {}
    try:
        return response.json()
    except ValueError:
        raise Unreachable(f"{response.url} answered what is not JSON: is that a HotSwap server?") from None
