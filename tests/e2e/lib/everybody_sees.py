"""A module for Synapse: its users see everybody's presence, and the users named in `watchers` see theirs.

Synapse shows presence only to those who share a room, or whom such a module names.
"""

from synapse.module_api import ModuleApi, PRESENCE_ALL_USERS


class EverybodySees:
    def __init__(self, config: dict, api: ModuleApi) -> None:
        self._watchers = config["watchers"]
        api.register_presence_router_callbacks(
            get_users_for_states=self.users_for_states,
            get_interested_users=self.interested_users,
        )

    async def users_for_states(self, states) -> dict:
        return {watcher: set(states) for watcher in self._watchers}

    async def interested_users(self, user_id: str) -> str:
        return PRESENCE_ALL_USERS
