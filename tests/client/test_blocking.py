"""The blocking face, used from threads that have no reactor."""

from __future__ import annotations

import errno

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lb.client.blocking import Client
from lb.model import jobid, query
from lb.model.catalogue import BY_NAME, Source
from lb.model.errors import LBError
from lb.model.status import State
from lb.wire import il
from tests.client import peers
from tests.client.site import Server
from tests.client.subscriptions import NotificationServer


class BlockingTests(TestCase):
    """Calls that wait for their result."""

    async def test_life_of_a_job(self) -> None:
        """Register, log, ask: each call returns when it is done, and raises what the coroutine would."""
        server = Server(reactor)

        def life() -> None:
            job = jobid.create(str(server.address))
            with Client(environ=server.environ) as client:
                code = client.register(job)
                make = client.session.producer.new_event
                event = make(BY_NAME["Running"], job, Source.LogMonitor, code, {"node": "n"})
                client.log(event)
                self.assertEqual(client.log_many(iter([event, event])), 2)
                self.assertEqual(len(client.events(job)), 4)
                self.assertEqual(client.status(job).jobId, str(job))
                self.assertEqual([each.jobId for each in client.own_jobs()], [str(job)])
                self.assertEqual(len(client.jobs(query.own_jobs())), 1)
                with self.assertRaises(LBError) as raised:
                    client.status(jobid.create(str(server.address)))
                self.assertEqual(raised.exception.code, errno.ENOENT)
            with self.assertRaises(LBError):
                client.status(job)

        try:
            await deferToThread(life)
            self.assertEqual(client_states(server), {State.Running})
        finally:
            await server.close()

    async def test_many_threads(self) -> None:
        """Threads share the one reactor behind all clients."""
        server = Server(reactor)

        def register() -> str:
            with Client(environ=server.environ) as client:
                return client.register(jobid.create(str(server.address)))

        try:
            codes = await gatherResults([deferToThread(register) for _ in range(8)])
        finally:
            await server.close()
        self.assertEqual((len(codes), len(set(codes))), (8, 1))
        self.assertEqual(set(server.store.users), {peers.IDENTITY})

    async def test_watch(self) -> None:
        """Notifications come one after the other to a thread; the registration ends with the context."""
        server = NotificationServer(reactor)
        server.on_new = [("Submitted", 1), ("Running", 2)]
        groups = query.own_jobs().jobs

        def watch() -> list[int]:
            with Client(environ=server.environ) as client, client.watch(groups, host="127.0.0.1") as notifications:
                return [next(notifications).status.state, next(notifications).status.state]

        try:
            self.assertEqual(await deferToThread(watch), [State.Submitted, State.Running])
            self.assertEqual(server.registered, {})
            self.assertEqual(await server.delivered(), [il.OK] * 2)
        finally:
            await server.close()


def client_states(server: Server) -> set[int]:
    """States of all jobs of a site."""
    return {server.site.status(job).state for job in server.site.events}
