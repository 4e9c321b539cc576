"""The registrations of a site, as the original keeper kept them from its file."""

from __future__ import annotations

from lb.model.query import Attribute, Flag, Group
from lb.security.policy import Action
from lb.server.access import hashed
from lb.server.notify.keeper import Keeper, Site
from lb.wire import il
from tests.inventory.script import LIFE, Script
from tests.notify.registrations import changed, equal
from tests.notify.test_announcing import NOW, Registered
from tests.server.fixture import OWNER

_OWN = "/CN=lb.example"


class SiteRegistrations(Registered):
    """A server that keeps one registration for all jobs, and may read them."""

    def setUp(self) -> None:
        super().setUp()
        self.policy = self.policy.permitting(_OWN, Action.READ_ALL)
        self.script = Script(self._send, int(NOW) - 1_000)

    def _send(self, line: bytes) -> None:
        self.assertEqual(self.server.send(line), il.OK)

    def _keep(self, *groups: Group, flags: Flag = Flag(0)) -> None:  # noqa: B008
        site = Site("all", "h:1", tuple(groups), flags)
        Keeper(self.registry, [site], _OWN, "localhost:9000", lambda: self.now, 100_000)()

    def _owners(self, job: object) -> list[str | None]:
        """Whose the job is, in each message about it."""
        (kept,) = self.registry.all()
        return [status.owner for status in self._told(kept) if status.jobId == str(job)]

    def test_scripts(self) -> None:
        """lb-test-notif-keeper 2 to 5: each line of its file tells what it should, once; nonsense is no error."""
        mine = equal(Attribute.OWNER, OWNER.name)
        self._keep(mine)
        self.assertEqual(self._owners(self.script.register()), [OWNER.name])

        self._keep(mine, equal(Attribute.STATUS, 5), changed(Attribute.STATUS))
        job = self.script.register()
        self.script.live(job, len(LIFE))
        self.assertEqual(self._owners(job), [OWNER.name])

        self._keep(flags=Flag.ANONYMIZED)
        anonymous = self.script.register()
        self.assertEqual(self._owners(anonymous), [hashed(str(OWNER.name), "salt")])

        self._keep(equal(Attribute.OWNER, "no such person"))
        self.assertEqual(self._owners(self.script.register()), [])
