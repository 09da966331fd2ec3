"""What bots and bridges are written with (mautrix, as it comes from PyPI) against the server."""

import asyncio
import unittest

from mautrix.api import HTTPAPI, Method, Path
from mautrix.client import Client
from mautrix.types import EventType, Membership, PresenceState, RoomCreatePreset, UserID

from homeserver import Homeserver

PASSWORD = "correct horse"
WAIT_S = 20


def setUpModule():
    global server
    server = Homeserver()
    server.__enter__()
    unittest.addModuleCleanup(server.__exit__, None, None, None)


class Bot:
    """A logged-in client that syncs and keeps what came."""

    async def begin(self, username):
        api = HTTPAPI(base_url=server.url)
        account = {"username": username, "password": PASSWORD, "inhibit_login": True}
        await api.request(Method.POST, Path.v3.register, {**account, "auth": {"type": "m.login.dummy"}})
        self.client = Client(api=api)
        await self.client.login(identifier=username, password=PASSWORD, device_name="mautrix")
        self.messages, self.memberships, self.redacted = [], [], []
        for kind, take in [
            (EventType.ROOM_MESSAGE, lambda e: self.messages.append((e.event_id, e.content.body))),
            (EventType.ROOM_REDACTION, lambda e: self.redacted.append(e.redacts)),
            (EventType.ROOM_MEMBER, lambda e: self.memberships.append((e.state_key, e.content.membership))),
        ]:
            self.client.add_event_handler(kind, self._taking(take))
        self.syncing = self.client.start(None)
        return self

    @staticmethod
    def _taking(take):
        async def handler(event):
            take(event)

        return handler

    @property
    def id(self) -> UserID:
        return self.client.mxid

    async def end(self):
        self.client.stop()
        await self.client.api.session.close()


async def until(what, holds):
    for _ in range(WAIT_S * 50):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {WAIT_S} s: {what}")


class Mautrix(unittest.IsolatedAsyncioTestCase):
    async def bots(self, *names):
        bots = [await Bot().begin(name) for name in names]
        for bot in bots:
            self.addAsyncCleanup(bot.end)
        return bots

    async def test_a_bot_is_invited_joins_and_answers_what_it_is_told(self):
        alice, bot = await self.bots("mx_alice", "mx_bot")
        room = await alice.client.create_room(preset=RoomCreatePreset.PRIVATE, name="Bots", invitees=[bot.id])
        await until("the bot is invited", lambda: (bot.id, Membership.INVITE) in bot.memberships)
        await bot.client.join_room_by_id(room)
        await until("Alice sees it come", lambda: (bot.id, Membership.JOIN) in alice.memberships)
        asked = await alice.client.send_text(room, "ping")
        await until("the bot is told", lambda: (asked, "ping") in bot.messages)
        answered = await bot.client.send_text(room, "pong")
        await until("Alice is told", lambda: (answered, "pong") in alice.messages)
        await bot.client.react(room, asked, "+1")
        await bot.client.send_receipt(room, asked)
        await alice.client.redact(room, asked, "enough")
        await until("the bot sees it redacted", lambda: asked in bot.redacted)
        self.assertEqual(sorted(await bot.client.get_joined_members(room)), sorted([alice.id, bot.id]))
        self.assertEqual([body for _, body in alice.messages], ["ping", "pong"], "each once, in order")

    async def test_a_bot_says_how_it_is_and_asks_how_others_are(self):
        alice, bot = await self.bots("mx_carol", "mx_presence")
        room = await alice.client.create_room(preset=RoomCreatePreset.PUBLIC)
        await bot.client.join_room_by_id(room)
        await bot.client.set_presence(PresenceState.ONLINE, status="thinking")
        seen = await alice.client.get_presence(bot.id)
        self.assertEqual((seen.presence, seen.status_msg), (PresenceState.ONLINE, "thinking"))
        # As long as it syncs, each of its syncs says "online".
        bot.client.stop()
        await bot.client.api.request(
            Method.PUT,
            Path.v3.presence[bot.id].status,
            {"presence": "unavailable", "status_msg": "away"},
        )
        seen = await alice.client.get_presence(bot.id)
        self.assertEqual((seen.presence, seen.status_msg), (PresenceState.UNAVAILABLE, "away"))


if __name__ == "__main__":
    unittest.main()
