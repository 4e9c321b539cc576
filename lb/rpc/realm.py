"""Realm and portal of the service: the certificate of a connection is its credential, the peer's name its avatar.

Nothing that travels in a message is believed about who sends it (P7).
"""

from __future__ import annotations

from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from twisted.spread import pb
from zope.interface import Interface, implementer

from lb.model.errors import forbidden
from lb.rpc.errors import Guarded, RefusedError
from lb.rpc.perspective import Perspective
from lb.security.identity import ANONYMOUS, Identity, UnverifiedPeerError, identity_of
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


@implementer(IRealm)
class Realm:
    """Gives each peer its perspective."""

    def __init__(self, questions: Questions, watch: Watch | None = None) -> None:
        self._questions = questions
        self._watch = watch

    def requestAvatar(  # type: ignore[override]  # ids of avatars are identities here
        self, avatarId: Identity, mind: object, *interfaces: Any
    ) -> tuple[Any, Perspective, Any]:
        """`mind`: the peer's object that is told what it subscribed to, or None."""
        if pb.IPerspective not in interfaces:
            raise NotImplementedError("the realm has perspectives only")
        perspective = Perspective(self._questions, avatarId, self._watch)
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
        login: Deferred[Any] = maybeDeferred(self._portal.login, PeerIdentity(self._peer()), mind, pb.IPerspective)
        return login.addCallbacks(self._done, _denied)

    def _peer(self) -> Identity:
        try:
            transport: Any = self._broker.transport
            return identity_of(transport.getHandle())
        except (UnverifiedPeerError, AttributeError):  # a transport without TLS has no handle of it
            return ANONYMOUS

    def _done(self, result: tuple[Any, Perspective, Any]) -> pb.AsReferenceable:
        _, perspective, logout = result
        self._broker.notifyOnDisconnect(logout)
        return pb.AsReferenceable(perspective, "perspective")


def _denied(failure: Failure) -> Failure:
    failure.trap(UnauthorizedLogin)
    return Failure(RefusedError(forbidden(failure.getErrorMessage())))


@implementer(pb.IPBRoot)
class Root:
    """Where a connection begins."""

    def __init__(self, questions: Questions, watch: Watch | None = None) -> None:
        self._portal = Portal(Realm(questions, watch), [CertificateChecker()])

    def rootObject(self, broker: pb.Broker) -> pb.Referenceable:
        """One for each connection."""
        return _Login(self._portal, broker)
