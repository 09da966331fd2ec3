"""What bridges are written with (mautrix' framework for application services, as it comes from PyPI) against the server."""

import asyncio
import os
import tempfile
import unittest
from pathlib import Path

from mautrix.api import Method
from mautrix.api import Path as ApiPath
from mautrix.appservice import AppService
from mautrix.appservice.state_store import FileASStateStore
from mautrix.errors import MExclusive, MForbidden
from mautrix.types import EventType, Membership, PresenceState, RoomCreatePreset

from homeserver import Homeserver, free_port
from test_mautrix import Bot, until
import test_mautrix

REGISTRATION = """
id: mau
url: http://127.0.0.1:{port}
as_token: as-token-of-mau
hs_token: hs-token-of-mau
sender_localpart: maubot
rate_limited: false
de.sorunome.msc2409.push_ephemeral: true
namespaces:
  users:
  - exclusive: true
    regex: '@mau_.*:localhost'
  aliases:
  - exclusive: true
    regex: '#mau_.*:localhost'
"""


class Bridge:
    """An application service that keeps what comes, and can be ended and begun again."""

    def __init__(self, folder, port):
        self.folder, self.port, self.came, self.queried = folder, port, [], []

    async def begin(self):
        self.service = AppService(
            server=test_mautrix.server.url,
            domain="localhost",
            as_token="as-token-of-mau",
            hs_token="hs-token-of-mau",
            bot_localpart="maubot",
            id="mau",
            state_store=FileASStateStore(path=str(self.folder / "state.json"), binary=False),
            ephemeral_events=True,
            query_user=self._query,
        )
        self.service.synchronous_handlers = True
        self.service.matrix_event_handler(self._take)
        await self.service.start("127.0.0.1", self.port)

    async def end(self):
        await self.service.stop()

    async def _take(self, event):
        self.came.append(event)

    async def _query(self, user):
        self.queried.append(user)
        if not user.startswith("@mau_made"):
            return None
        await self.service.intent.user(user).ensure_registered()
        return {}

    def messages(self):
        return [event.content.body for event in self.came if event.type == EventType.ROOM_MESSAGE]

    def has(self, kind, holds):
        return any(event.type == kind and holds(event) for event in self.came)


@unittest.skipIf("HOMESERVER_URL" in os.environ, "the server has to know of the application service")
class MautrixBridge(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        folder = tempfile.TemporaryDirectory(prefix="pilotlight-mautrix-")
        self.addCleanup(folder.cleanup)
        port = free_port()
        registration = Path(folder.name) / "mau.yaml"
        registration.write_text(REGISTRATION.format(port=port))
        test_mautrix.server = Homeserver(application_services=str(registration))
        test_mautrix.server.__enter__()
        self.addCleanup(lambda: test_mautrix.server.__exit__(None, None, None))
        self.bridge = Bridge(Path(folder.name), port)
        await self.bridge.begin()
        self.alice = await Bot().begin("mxas_alice")

    async def asyncTearDown(self):
        await self.alice.end()
        await self.bridge.end()

    async def test_a_bridge_acts_as_its_users_is_told_of_their_rooms_and_outlives_restarts_of_both(self):
        bridge, alice = self.bridge, self.alice
        bot = bridge.service.intent
        self.assertGreaterEqual(await bridge.service.ping_self("ping"), 0)
        ghost = bot.user("@mau_ghost:localhost")
        await ghost.ensure_registered()
        await ghost.set_displayname("Ghost")
        room = await alice.client.create_room(preset=RoomCreatePreset.PRIVATE, invitees=[bot.mxid])
        await until("the bot is invited", lambda: bridge.has(EventType.ROOM_MEMBER, lambda e: e.state_key == bot.mxid))
        await bot.join_room_by_id(room)
        await ghost.ensure_joined(room)
        said = await ghost.send_text(room, "hello from elsewhere")
        await until("Alice is told", lambda: (said, "hello from elsewhere") in alice.messages)
        old = await ghost.send_text(room, "of long ago", timestamp=1_500_000_000_000)
        self.assertEqual((await alice.client.get_event(room, old)).timestamp, 1_500_000_000_000)
        asked = await alice.client.send_text(room, "one")
        await until("the bridge is told", lambda: "one" in bridge.messages())

        # What only lives.
        await alice.client.set_typing(room, timeout=20_000)
        await alice.client.send_receipt(room, asked)
        await until("who types", lambda: bridge.has(EventType.TYPING, lambda e: alice.id in e.content.user_ids))
        await until("who has read", lambda: bridge.has(EventType.RECEIPT, lambda e: asked in e.content))
        await until("who is there", lambda: bridge.has(EventType.PRESENCE, lambda e: e.sender == alice.id))
        await ghost.set_presence(PresenceState.ONLINE, status="bridged", ignore_cache=True)
        seen = await alice.client.get_presence(ghost.mxid)
        self.assertEqual((seen.presence, seen.status_msg), (PresenceState.ONLINE, "bridged"))

        # The bridge ends, and comes back.
        await bridge.end()
        await alice.client.send_text(room, "two")
        await bridge.begin()
        bot = bridge.service.intent
        await bridge.service.ping_self()
        await until("what was said meanwhile", lambda: "two" in bridge.messages())
        # Then the server, and both.
        alice.client.stop()
        test_mautrix.server.stop()
        test_mautrix.server.go_on()
        await alice.client.send_text(room, "three")
        await until("the server goes on", lambda: "three" in bridge.messages())
        await bridge.end()
        await alice.client.send_text(room, "four")
        test_mautrix.server.stop()
        await bridge.begin()
        test_mautrix.server.go_on()
        await until("both go on", lambda: "four" in bridge.messages())
        expected = ["hello from elsewhere", "of long ago", "one", "two", "three", "four"]
        self.assertEqual(bridge.messages(), expected, "each once, in order")

    async def test_what_is_the_bridges_own_nobody_else_gets_and_what_is_asked_for_is_made(self):
        bridge, alice = self.bridge, self.alice
        bot = bridge.service.intent
        with self.assertRaises(MExclusive):
            body = {"username": "mau_taken", "password": "x", "auth": {"type": "m.login.dummy"}}
            await alice.client.api.request(Method.POST, ApiPath.v3.register, body)
        with self.assertRaises(MForbidden):
            await bot.user(alice.id).whoami()
        room = await alice.client.create_room(preset=RoomCreatePreset.PUBLIC)
        with self.assertRaises(MExclusive):
            await alice.client.add_room_alias(room, "mau_room")
        await bot.add_room_alias(room, "mau_room")
        self.assertEqual((await alice.client.resolve_room_alias("#mau_room:localhost")).room_id, room)
        await alice.client.invite_user(room, "@mau_made:localhost")
        self.assertEqual(set(bridge.queried), {"@mau_made:localhost"})
        await until(
            "its user is invited",
            lambda: bridge.has(EventType.ROOM_MEMBER, lambda e: e.content.membership == Membership.INVITE),
        )


if __name__ == "__main__":
    unittest.main()
