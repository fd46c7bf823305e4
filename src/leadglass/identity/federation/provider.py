"""A provider, asked over the network: what it is, its keys, what a code is worth.

Everything that it sends is limited in bytes and in time, and no redirect is
followed: an address that was judged is the address that is asked. Keys are fetched
anew for a key that is not known, so that a provider may rotate them, but seldom:
who sends forged tokens must not make us knock on the provider's door.

Calls block; a server calls them in a thread.
"""

import json
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from time import monotonic

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

from leadglass.errors import Misconfigured, Refused, Unavailable
from leadglass.identity.federation.flow import Begun, Client, Metadata, check_address
from leadglass.identity.federation.idtoken import (
    Expected,
    Identity,
    SecondFactorRule,
    find_key,
    key_id,
    verify,
)

# A page of metadata has some 5 kB, a set of keys with certificates some 20 kB.
ANSWER_BYTES_MAX = 262_144
KEYS_MAX = 64
# Somebody waits in front of a browser.
TIMEOUT_S = 5.0
ANSWER_TIME_S_MAX = 10.0
# Between two fetches of the keys, whatever tokens name.
KEYS_INTERVAL = timedelta(minutes=1)
# Addresses move with upgrades; a login a day later must not need a restart.
METADATA_VALIDITY = timedelta(hours=1)
# A key that was withdrawn is believed no longer than this.
KEYS_VALIDITY = timedelta(hours=1)


class Provider:
    """One OpenID provider; what it said is kept for a while."""

    def __init__(  # noqa: PLR0913 - who it is, who we are, and how to ask
        self,
        issuer: str,
        client: Client,
        secret: str,
        http: httpx.Client,
        second_factor: SecondFactorRule,
        *,
        unsafe_loopback_http: bool = False,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            issuer: Its name, as it spells it.
            client: Who we are there.
            secret: What proves that at the token endpoint.
            http: What asks; see ``http_client``.
            second_factor: What it must assert.
            unsafe_loopback_http: Ask without TLS on this machine; for tests.

        Raises:
            Misconfigured: An issuer that may not be asked, or no secret.
        """
        check_address(issuer, unsafe_loopback_http=unsafe_loopback_http)
        if "?" in issuer:
            raise Misconfigured("oidc: an issuer has no query; leave it out")
        if not secret:
            raise Misconfigured("oidc: the file of the client secret is empty")
        self._issuer, self._client, self._secret = issuer, client, secret
        self._http, self._second_factor = http, second_factor
        self._unsafe_loopback_http = unsafe_loopback_http
        self._lock = threading.Lock()
        self._metadata: tuple[Metadata, datetime] | None = None
        self._keys: KeySet | None = None
        self._keys_at: datetime | None = None
        self._asked_for_keys_at: datetime | None = None

    def metadata(self, now: datetime) -> Metadata:
        """Return what the provider says of itself.

        Raises:
            Unavailable: It does not answer, or not as it must.
        """
        with self._lock:
            if self._metadata and now - self._metadata[1] < METADATA_VALIDITY:
                return self._metadata[0]
        address = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
        metadata = Metadata.parse(
            fetch(self._http, "GET", address),
            self._issuer,
            unsafe_loopback_http=self._unsafe_loopback_http,
        )
        with self._lock:
            self._metadata = (metadata, now)
        return metadata

    def redeem(self, begun: Begun, code: str, now: Callable[[], datetime]) -> Identity:
        """Return whom a code stands for.

        Args:
            begun: What was kept for the browser; given up before, never used again.
            code: What the browser brought.
            now: The clock; the answer may take seconds.

        Raises:
            Refused: The code or the token is wrong.
            Unavailable: The provider does not answer, or not as it must.
        """
        metadata = self.metadata(now())
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._client.redirect_uri,
            "client_id": self._client.client_id,
            "client_secret": self._secret,
            "code_verifier": begun.verifier,
        }
        answer = fetch(self._http, "POST", metadata.token_endpoint, form)
        token = answer.get("id_token") if isinstance(answer, dict) else None
        if not isinstance(token, str):
            raise Refused("oidc: the provider gave no ID token")
        key = self._key(metadata, key_id(token), now())
        expected = Expected(
            self._issuer, self._client.client_id, begun.nonce, self._second_factor
        )
        return verify(token, key, expected, now())

    def _key(self, metadata: Metadata, kid: str | None, now: datetime) -> Key:
        """Return the key of that name; one thread at a time asks for new ones."""
        with self._lock:
            fresh = self._keys_at and now - self._keys_at < KEYS_VALIDITY
            if self._keys and fresh and (key := find_key(self._keys, kid)):
                return key
            asked = self._asked_for_keys_at
            if asked is not None and now - asked < KEYS_INTERVAL:
                raise Refused("oidc: signed by a key that is not known")
            self._asked_for_keys_at = now
            self._keys = parse_keys(fetch(self._http, "GET", metadata.jwks_uri))
            self._keys_at = now
            if key := find_key(self._keys, kid):
                return key
        raise Refused("oidc: signed by a key that the provider does not have")


def parse_keys(document: object) -> KeySet:
    """Read a set of keys (RFC 7517 §5).

    Raises:
        Unavailable: It is none, or too large.
    """
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not 0 < len(keys) <= KEYS_MAX:
        raise Unavailable("oidc: the provider's keys cannot be read")
    try:
        return KeySet.import_key_set({"keys": keys})
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Unavailable("oidc: the provider's keys cannot be read") from error


def fetch(
    http: httpx.Client, method: str, address: str, form: Mapping[str, str] | None = None
) -> object:
    """Return the JSON of an answer; as text, it is never longer than the limit.

    Raises:
        Refused: A 400 or 401 to a form: what was sent is not accepted.
        Unavailable: No answer, a redirect, too long, too slow, or no JSON.
    """
    ends_at = monotonic() + ANSWER_TIME_S_MAX
    # Nothing compressed: the limit is one of bytes that were sent, too.
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    body = bytearray()
    try:
        with http.stream(method, address, data=form, headers=headers) as answer:
            if form is not None and answer.status_code in {400, 401}:
                raise Refused("oidc: the provider does not accept the code, or us")
            if answer.status_code != httpx.codes.OK:
                raise Unavailable(f"oidc: the provider answers {answer.status_code}")
            for part in answer.iter_raw():
                body += part
                if len(body) > ANSWER_BYTES_MAX or monotonic() > ends_at:
                    raise Unavailable("oidc: the provider's answer has no end")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable("oidc: the provider does not answer") from error
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unavailable("oidc: the provider's answer is no JSON") from error


def http_client(timeout_s: float = TIMEOUT_S) -> httpx.Client:
    """Return what asks: no redirects, no proxy or credentials of the environment."""
    return httpx.Client(timeout=timeout_s, follow_redirects=False, trust_env=False)
