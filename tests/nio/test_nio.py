"""A stock Python client library (matrix-nio, as it comes from PyPI) against the server."""

import asyncio
import io
import time
import unittest

import nio

from homeserver import Homeserver

PASSWORD = "correct horse"
WAIT_S = 20


def setUpModule():
    global server
    server = Homeserver()
    server.__enter__()
    unittest.addModuleCleanup(server.__exit__, None, None, None)


class Client:
    """A logged-in nio client that syncs in the background and keeps what came."""

    def __init__(self, username):
        self.nio = nio.AsyncClient(server.url, username)
        self.messages = []
        self.presence = {}
        self.first_sync = None
        self.nio.add_event_callback(self._on_message, nio.RoomMessageText)
        self.nio.add_presence_callback(self._on_presence, nio.PresenceEvent)

    async def register(self):
        return await self._begin(await self.nio.register(self.nio.user, PASSWORD, device_name="nio"))

    async def login(self):
        return await self._begin(await self.nio.login(PASSWORD, device_name="nio again"))

    async def _begin(self, answer):
        assert isinstance(answer, (nio.RegisterResponse, nio.LoginResponse)), answer
        self.syncing = asyncio.create_task(self._sync())
        return self

    # Short polls, so that a changed `set_presence` reaches the server soon.
    async def _sync(self):
        self.set_presence = "online"
        while True:
            answer = await self.nio.sync(timeout=500, set_presence=self.set_presence)
            if not isinstance(answer, nio.SyncResponse):
                raise AssertionError(answer)
            self.first_sync = self.first_sync or answer

    async def close(self):
        self.syncing.cancel()
        await asyncio.gather(self.syncing, return_exceptions=True)
        await self.nio.close()

    async def _on_message(self, room, event):
        self.messages.append((room.room_id, event.event_id, event.body))

    async def _on_presence(self, event):
        self.presence[event.user_id] = event

    async def send(self, room_id, body, tx_id=None):
        answer = await self.nio.room_send(room_id, "m.room.message", {"msgtype": "m.text", "body": body}, tx_id=tx_id)
        assert isinstance(answer, nio.RoomSendResponse), answer
        return answer.event_id

    def members(self, room_id):
        room = self.nio.rooms.get(room_id)
        return len(room.users) if room else 0

    async def sees(self, other, state):
        await until(
            f"{self.nio.user_id} sees {other.nio.user_id} {state}",
            lambda: self.state_of(other) == state,
        )

    def state_of(self, other):
        event = self.presence.get(other.nio.user_id)
        return event and event.presence


async def until(what, question):
    deadline = time.monotonic() + WAIT_S
    while not question():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {WAIT_S} s")
        await asyncio.sleep(0.02)


class TwoUsers(unittest.IsolatedAsyncioTestCase):
    """Alice and Bob, who share a room; their names are new in each test."""

    async def asyncSetUp(self):
        name = self._testMethodName[5:25].rstrip("_")
        self.alice = await Client(f"alice_{name}").register()
        self.bob = await Client(f"bob_{name}").register()
        self.clients = [self.alice, self.bob]
        created = await self.alice.nio.room_create(
            visibility=nio.RoomVisibility.public, alias=name, name="The Den", preset=nio.RoomPreset.public_chat
        )
        self.assertIsInstance(created, nio.RoomCreateResponse)
        self.room = created.room_id
        joined = await self.bob.nio.join(f"#{name}:localhost")
        self.assertIsInstance(joined, nio.JoinResponse)
        self.assertEqual(joined.room_id, self.room)

    async def asyncTearDown(self):
        for client in self.clients:
            await client.close()

    async def test_messages_arrive_once_and_in_order(self):
        await until("both know each other", lambda: all(client.members(self.room) == 2 for client in self.clients))
        self.assertEqual(self.bob.nio.rooms[self.room].display_name, "The Den")
        sent = []
        for n in range(10):
            sender = self.clients[n % 2]
            sent.append((self.room, await sender.send(self.room, f"message {n}"), f"message {n}"))
        for client in self.clients:
            await until("the last message", lambda: sent[-1] in client.messages)
            self.assertEqual(client.messages, sent)

    async def test_files_are_uploaded_and_read_by_others(self):
        pixel = bytes.fromhex(
            "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8cfc0f01f0005000201"
            "a5f6ab200000000049454e44ae426082"
        )
        for data, kind, name in ((b"x" * 300_000, "text/plain", "notes.txt"), (pixel, "image/png", "pixel.png")):
            uploaded, _ = await self.alice.nio.upload(io.BytesIO(data), kind, name, filesize=len(data))
            self.assertIsInstance(uploaded, nio.UploadResponse, uploaded)
            for wanted, called in ((None, name), ("other.bin", "other.bin")):
                read = await self.bob.nio.download(uploaded.content_uri, filename=wanted)
                self.assertIsInstance(read, nio.DownloadResponse, read)
                self.assertEqual((read.body, read.content_type, read.filename), (data, kind, called))
        server_name, media_id = uploaded.content_uri.removeprefix("mxc://").split("/")
        small = await self.bob.nio.thumbnail(server_name, media_id, 96, 96)
        self.assertIsInstance(small, nio.ThumbnailResponse, small)
        self.assertEqual(small.content_type, "image/png")
        config = await self.bob.nio.content_repository_config()
        self.assertGreater(config.upload_size, 1 << 20)
        gone = await self.bob.nio.download("mxc://localhost/unknown")
        self.assertEqual(gone.status_code, "M_NOT_FOUND")
        set_avatar = await self.alice.nio.set_avatar(uploaded.content_uri)
        self.assertIsInstance(set_avatar, nio.ProfileSetAvatarResponse, set_avatar)
        self.assertEqual((await self.bob.nio.get_avatar(self.alice.nio.user_id)).avatar_url, uploaded.content_uri)

    async def test_retransmission_is_the_same_event(self):
        first = await self.alice.send(self.room, "once", tx_id="the same")
        second = await self.alice.send(self.room, "once", tx_id="the same")
        self.assertEqual(first, second)
        last = await self.alice.send(self.room, "done")
        await until("the end", lambda: any(m[1] == last for m in self.bob.messages))
        self.assertEqual([m[2] for m in self.bob.messages], ["once", "done"])

    async def test_a_new_device_scrolls_back_to_the_beginning(self):
        for n in range(25):
            await self.alice.send(self.room, f"message {n}")
        phone = await Client(self.bob.nio.user).login()
        self.clients.append(phone)
        await until("the first sync", lambda: phone.first_sync)
        start = phone.first_sync.rooms.join[self.room].timeline.prev_batch
        events = []
        while start:
            page = await phone.nio.room_messages(self.room, start, direction=nio.MessageDirection.back, limit=7)
            self.assertIsInstance(page, nio.RoomMessagesResponse)
            events += page.chunk
            start = page.end if page.chunk else None
        older = [e.body for e in reversed(events) if isinstance(e, nio.RoomMessageText)]
        newer = [body for _, _, body in phone.messages]
        self.assertEqual(older + newer, [f"message {n}" for n in range(25)])
        self.assertIsInstance(events[-1], nio.RoomCreateEvent)

    async def test_presence_travels_both_ways(self):
        await self.bob.sees(self.alice, "online")
        await self.alice.sees(self.bob, "online")
        for mover, observer in [(self.alice, self.bob), (self.bob, self.alice)]:
            mover.set_presence = "unavailable"
            await mover.nio.set_presence("unavailable", "at lunch")
            await observer.sees(mover, "unavailable")
            await until("the status message", lambda: observer.presence[mover.nio.user_id].status_msg == "at lunch")
            asked = await observer.nio.get_presence(mover.nio.user_id)
            self.assertEqual((asked.presence, asked.status_msg), ("unavailable", "at lunch"))
            mover.set_presence = "online"
            # Not an empty one: nio leaves that out, and what is left out stays as it was.
            await mover.nio.set_presence("online", "back")
            await observer.sees(mover, "online")
            await until("the next status message", lambda: observer.presence[mover.nio.user_id].status_msg == "back")

    async def test_two_devices_are_idle_only_together(self):
        laptop, phone = self.alice, await Client(self.alice.nio.user).login()
        self.clients.append(phone)
        await self.bob.sees(laptop, "online")
        laptop.set_presence = "unavailable"
        await asyncio.sleep(1.5)
        self.assertEqual(self.bob.state_of(laptop), "online", "the phone is still in use")
        phone.set_presence = "unavailable"
        await self.bob.sees(laptop, "unavailable")
        laptop.set_presence = "online"
        await self.bob.sees(laptop, "online")

    async def test_leaving_and_logging_out(self):
        left = await self.bob.nio.room_leave(self.room)
        self.assertIsInstance(left, nio.RoomLeaveResponse)
        await until("alice is alone", lambda: self.alice.members(self.room) == 1)
        self.bob.syncing.cancel()
        self.assertIsInstance(await self.bob.nio.logout(), nio.LogoutResponse)


if __name__ == "__main__":
    unittest.main()
