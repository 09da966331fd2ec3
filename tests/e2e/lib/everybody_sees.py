"""A module for Synapse: the users named in `watchers`, its own and others', see the presence of everybody.

Synapse shows presence only to those who share a room, or whom such a module names.
"""

from synapse.module_api import ModuleApi, PRESENCE_ALL_USERS


class EverybodySees:
    def __init__(self, config: dict, api: ModuleApi) -> None:
        self._watchers = [api.get_qualified_user_id(name) for name in config["watchers"]]
        api.register_presence_router_callbacks(
            get_users_for_states=self.users_for_states,
            get_interested_users=self.interested_users,
        )

    async def users_for_states(self, states) -> dict:
        return {watcher: set(states) for watcher in self._watchers}

    async def interested_users(self, user_id: str) -> "str | set":
        return PRESENCE_ALL_USERS if user_id in self._watchers else set()
