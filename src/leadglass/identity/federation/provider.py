"""A provider, asked over the network: what it is, its keys, what a code is worth.

What it said is kept for a while. Keys are fetched anew for a key that is not known, so
that a provider may rotate them, but seldom: who sends forged tokens must not make us
knock on the provider's door. A provider that does not answer is not asked again at
once, either: everybody hears that it does not.
"""

import threading
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote_plus

from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

from leadglass.errors import Misconfigured, Refused, Unavailable
from leadglass.identity.federation.asking import Asker
from leadglass.identity.federation.flow import Begun, Client, Metadata, check_address
from leadglass.identity.federation.idtoken import (
    ALGORITHMS,
    Expected,
    Identity,
    SecondFactorRule,
    find_key,
    key_id,
    verify,
)

KEYS_MAX: Final = 64
# Between two fetches of the keys, whatever tokens name.
KEYS_INTERVAL: Final = timedelta(seconds=3)
# After an answer that was none.
SILENCE: Final = timedelta(seconds=3)
# Addresses move with upgrades; a login a day later must not need a restart.
METADATA_VALIDITY: Final = timedelta(hours=1)
# A key that was withdrawn is believed no longer than this.
KEYS_VALIDITY: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Trust:
    """What a provider is believed, and what it must show.

    Attributes:
        issuer: Its name, as it spells it.
        second_factor: What it must assert.
        algorithms: By which it may sign.
        unsafe_loopback_http: Ask without TLS, on this machine alone.

    Raises:
        Misconfigured: An issuer that may not be asked.
    """

    issuer: str
    second_factor: SecondFactorRule = field(default_factory=SecondFactorRule)
    algorithms: tuple[str, ...] = ALGORITHMS
    unsafe_loopback_http: bool = False

    def __post_init__(self) -> None:
        check_address(self.issuer, unsafe_loopback_http=self.unsafe_loopback_http)
        if "?" in self.issuer:
            raise Misconfigured("oidc: an issuer has no query; leave it out")


class Provider:
    """One OpenID provider."""

    def __init__(
        self, trust: Trust, client: Client, secret: Callable[[], str], ask: Asker
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            trust: Whom to ask, and what to believe.
            client: Who we are there.
            secret: Gives what proves that at the token endpoint.
            ask: What asks.
        """
        self._trust, self._client, self._secret = trust, client, secret
        self._ask = ask
        self._lock = threading.Lock()
        # Of its own: it is held while the keys come, and a login begins without them.
        self._keys_lock = threading.Lock()
        self._metadata: tuple[Metadata, datetime] | None = None
        self._silent_since: datetime | None = None
        self._keys: KeySet | None = None
        self._keys_at: datetime | None = None
        self._asked_for_keys_at: datetime | None = None

    @property
    def issuer(self) -> str:
        """Its name."""
        return self._trust.issuer

    @property
    def client(self) -> Client:
        """Who we are there."""
        return self._client

    def look(self, now: datetime) -> None:
        """Make sure that the provider answers as it must; nobody logs in.

        Raises:
            Unavailable: It does not.
        """
        parse_keys(self._ask.get(self.metadata(now).jwks_uri))

    def metadata(self, now: datetime) -> Metadata:
        """Return what the provider says of itself.

        Raises:
            Unavailable: It does not answer, or not as it must.
        """
        with self._lock:
            if self._metadata and now - self._metadata[1] < METADATA_VALIDITY:
                return self._metadata[0]
            if self._silent_since and now - self._silent_since < SILENCE:
                raise Unavailable("oidc: the provider did not answer a moment ago")
        address = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
        try:
            metadata = Metadata.parse(
                self._ask.get(address),
                self.issuer,
                unsafe_loopback_http=self._trust.unsafe_loopback_http,
            )
        except Unavailable:
            with self._lock:
                self._silent_since = now
            raise
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
            Misconfigured: The secret cannot be read.
        """
        metadata = self.metadata(now())
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": begun.redirect_uri,
            "code_verifier": begun.verifier,
        }
        headers = {}
        secret = self._secret()
        if metadata.takes_basic:
            headers["Authorization"] = basic(self._client.client_id, secret)
        else:
            form |= {"client_id": self._client.client_id, "client_secret": secret}
        answer = self._ask.post(metadata.token_endpoint, form, headers)
        token = answer.get("id_token") if isinstance(answer, dict) else None
        if not isinstance(token, str):
            raise Refused("the provider gave no ID token")
        key = self._key(metadata, key_id(token, self._trust.algorithms), now())
        return verify(token, key, self._expected(begun), now())

    def _expected(self, begun: Begun) -> Expected:
        return Expected(
            issuer=self.issuer,
            client_id=self._client.client_id,
            nonce=begun.nonce,
            second_factor=self._trust.second_factor,
            algorithms=self._trust.algorithms,
            anew_since=begun.anew_since,
        )

    def _key(self, metadata: Metadata, kid: str | None, now: datetime) -> Key:
        """Return the key of that name; one thread at a time asks for new ones."""
        with self._keys_lock:
            fresh = self._keys_at and now - self._keys_at < KEYS_VALIDITY
            if self._keys and fresh and (key := find_key(self._keys, kid)):
                return key
            asked = self._asked_for_keys_at
            if asked is not None and now - asked < KEYS_INTERVAL:
                raise Refused("signed by a key that is not known")
            self._asked_for_keys_at = now
            self._keys = parse_keys(self._ask.get(metadata.jwks_uri))
            self._keys_at = now
            if key := find_key(self._keys, kid):
                return key
        raise Refused("signed by a key that the provider does not have")


def basic(client_id: str, secret: str) -> str:
    """Return the header that proves a client (RFC 6749 §2.3.1): each part as a form."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return f"Basic {b64encode(pair.encode()).decode()}"


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
