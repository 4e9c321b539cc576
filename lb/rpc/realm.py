"""Realm and portal of the service: the certificate of a connection is its credential, the peer's name its avatar.

Nothing that travels in a message is believed about who sends it (P7).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.spread import pb
from zope.interface import Interface, implementer

from lb.model.errors import forbidden
from lb.rpc.errors import Guarded, RefusedError
from lb.rpc.perspective import Perspective
from lb.rpc.subscriptions import Subscriptions
from lb.security.identity import ANONYMOUS, Identity, UnverifiedPeerError, identity_of
from lb.server.feed import Feed
from lb.server.query import Questions
from lb.service.watch import Watch


class IPeerIdentity(ICredentials):
    """A peer whose certificate chain was verified when its connection was made."""


@implementer(IPeerIdentity)
class PeerIdentity:
    """The identity behind a connection."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity


@implementer(ICredentialsChecker)
class CertificateChecker:
    """Takes every verified identity, and no anonymous peer."""

    credentialInterfaces: tuple[type[Interface], ...] = (IPeerIdentity,)

    def requestAvatarId(self, credentials: PeerIdentity) -> Identity:  # type: ignore[override]  # more than a name
        """The identity itself names the avatar."""
        if credentials.identity.name is None:
            raise UnauthorizedLogin("a certificate is needed")
        return credentials.identity


class Offered(NamedTuple):
    """What a server has for its peers; `followers`: how many it tells of changes."""

    questions: Questions
    feed: Feed
    clock: IReactorTime
    followers: int
    watch: Watch | None = None


@implementer(IRealm)
class Realm:
    """Gives each peer its perspective."""

    def __init__(self, offered: Offered) -> None:
        self._offered = offered

    def requestAvatar(  # type: ignore[override]  # ids of avatars are identities here
        self, avatarId: Identity, mind: object, *interfaces: Any
    ) -> tuple[Any, Perspective, Any]:
        """`mind` has no meaning: what is told of a subscription goes to the object that was given with it."""
        if pb.IPerspective not in interfaces:
            raise NotImplementedError("the realm has perspectives only")
        offered = self._offered
        subscriptions = Subscriptions(offered.feed, offered.clock, offered.followers)
        perspective = Perspective(offered.questions, avatarId, subscriptions, offered.watch)
        return pb.IPerspective, perspective, perspective.logout


class _Login(Guarded):
    """The object that every connection starts with."""

    def __init__(self, portal: Portal, broker: pb.Broker) -> None:
        self._portal = portal
        self._broker = broker
        self._logged_in = False

    def remote_login(self, mind: object = None) -> Deferred[Any]:
        """The caller's perspective; once a connection."""
        if self._logged_in:
            raise RefusedError(forbidden("this connection has logged in already"))
        self._logged_in = True
        credentials = PeerIdentity(peer_of(self._broker.transport))
        login: Deferred[Any] = maybeDeferred(self._portal.login, credentials, mind, pb.IPerspective)
        return login.addCallbacks(self._done, _denied)

    def _done(self, result: tuple[Any, Perspective, Any]) -> pb.AsReferenceable:
        _, perspective, logout = result
        self._broker.notifyOnDisconnect(logout)
        return pb.AsReferenceable(perspective, "perspective")


def peer_of(transport: Any) -> Identity:
    """The peer of a transport whose handshake is complete; nobody without TLS."""
    try:
        return identity_of(transport.getHandle())
    except (UnverifiedPeerError, AttributeError):  # a transport without TLS has no handle of it
        return ANONYMOUS


def _denied(failure: Failure) -> Failure:
    failure.trap(UnauthorizedLogin)
    return Failure(RefusedError(forbidden(failure.getErrorMessage())))


@implementer(pb.IPBRoot)
class Root:
    """Where a connection begins."""

    def __init__(self, offered: Offered) -> None:
        self._portal = Portal(Realm(offered), [CertificateChecker()])

    def rootObject(self, broker: pb.Broker) -> pb.Referenceable:
        """One for each connection."""
        return _Login(self._portal, broker)
