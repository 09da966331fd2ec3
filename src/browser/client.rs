//! The class that JavaScript sees. Its types are written in `pkg/index.d.ts`.

use std::rc::Rc;

use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;

use super::json::{error, integer, object_text, parse, read_object, stringify, to_js, type_error};
use super::options;
use super::shell::{EVENTS, Shell};
use crate::core::action::ids::ActionId;
use crate::core::client::commands::NewRoom;
use crate::core::client::contacts::{Answer, Placement};
use crate::core::client::notify::{Naming, checked_settings, settings_json};
use crate::core::client::session::Session;
use crate::core::presence::{Choice, StatusMsg};
use crate::core::wire::read::Object;

/// A device of a user, following its homeserver.
#[wasm_bindgen(js_name = Client, skip_typescript)]
pub struct JsClient {
    shell: Rc<Shell>,
}

impl Drop for JsClient {
    fn drop(&mut self) {
        self.shell.close();
    }
}

#[wasm_bindgen(js_class = Client)]
impl JsClient {
    /// A client that is not started.
    #[wasm_bindgen(constructor)]
    pub fn new(session: &JsValue, options: &JsValue) -> Result<JsClient, JsValue> {
        let session = read_object(&object_text(session, "session")?, "session", Session::read)?;
        Ok(Self { shell: Shell::new(session, options::check(options)?) })
    }

    /// The session it was made for.
    #[wasm_bindgen(getter)]
    pub fn session(&self) -> JsValue {
        to_js(&self.shell.session)
    }

    /// The connection's state.
    #[wasm_bindgen(getter)]
    pub fn connection(&self) -> JsValue {
        self.shell.read(|role| JsValue::from_str(role.connection().as_str()))
    }

    /// Whether the user is idle at this device.
    #[wasm_bindgen(getter)]
    pub fn idle(&self) -> bool {
        self.shell.read(|role| role.is_idle())
    }

    /// What the own user chose and is called.
    #[wasm_bindgen(getter)]
    pub fn me(&self) -> JsValue {
        self.shell.read(|role| to_js(role.me()))
    }

    /// Adds a listener; the function it returns takes it away.
    pub fn on(&self, event: &str, listener: Function) -> Result<JsValue, JsValue> {
        let known = EVENTS.into_iter().find(|known| *known == event);
        let event = known.ok_or_else(|| type_error(&["no such event: ", event].concat()))?;
        let number = self.shell.listen(event, listener);
        let shell = Rc::downgrade(&self.shell);
        let off = move || {
            if let Some(shell) = shell.upgrade() {
                shell.unlisten(number);
            }
        };
        Ok(Closure::<dyn FnMut()>::new(off).into_js_value())
    }

    /// Starts to follow the homeserver.
    pub fn start(&self) {
        self.shell.input(&mut |role, now| role.start(now));
    }

    /// Gives up all requests and falls silent.
    pub fn stop(&self) -> Promise {
        self.shell.input(&mut |role, now| role.stop(now));
        Promise::resolve(&JsValue::UNDEFINED)
    }

    /// Ends the session.
    pub fn logout(&self) -> Promise {
        self.shell.command(&|role, now| role.log_out(now))
    }

    /// One user's presence.
    #[wasm_bindgen(js_name = presenceOf)]
    pub fn presence_of(&self, user_id: &str) -> JsValue {
        self.shell.read(|role| role.presence_of(user_id).map_or(JsValue::UNDEFINED, to_js))
    }

    /// Everybody's presence.
    pub fn presences(&self) -> JsValue {
        self.shell.read(|role| to_js(&role.presences().collect::<Vec<_>>()))
    }

    /// Chooses a state; `undefined` keeps the message, `null` clears it.
    #[wasm_bindgen(js_name = setPresence)]
    pub fn set_presence(&self, state: &str, status_msg: &JsValue) -> Result<Promise, JsValue> {
        let choice: Choice =
            state.parse().map_err(|_| type_error(&["not a state to choose: ", state].concat()))?;
        let words = if status_msg.is_undefined() {
            StatusMsg::Keep
        } else {
            let words = StatusMsg::from_nullable(status_msg.as_string());
            words.map_err(|too_long| js_sys::RangeError::new(&too_long.to_string()))?
        };
        Ok(self.shell.command(&|role, now| role.set_presence(now, choice, words.clone())))
    }

    /// Sets the display name.
    #[wasm_bindgen(js_name = setDisplayName)]
    pub fn set_display_name(&self, name: &str) -> Promise {
        self.shell.command(&|role, now| role.set_display_name(now, name))
    }

    /// Whether the server keeps presence lists; `undefined` before it has said so.
    #[wasm_bindgen(getter, js_name = hasPresenceList)]
    pub fn has_presence_list(&self) -> Option<bool> {
        self.shell.read(|role| role.has_presence_list())
    }

    /// Everybody whom the presence list has to do with.
    pub fn contacts(&self) -> JsValue {
        self.shell.read(|role| to_js(role.contacts()))
    }

    /// Puts a user on the list.
    #[wasm_bindgen(js_name = addContact)]
    pub fn add_contact(&self, user_id: &str, acl: Option<String>) -> Promise {
        self.shell.command(&|role, now| role.add_contact(now, user_id, acl.as_deref()))
    }

    /// Takes a user off the list.
    #[wasm_bindgen(js_name = dropContact)]
    pub fn drop_contact(&self, user_id: &str) -> Promise {
        self.shell.command(&|role, now| role.drop_contact(now, user_id))
    }

    /// Answers a request, or takes back what was granted.
    #[wasm_bindgen(js_name = answerRequest)]
    pub fn answer_request(&self, user_id: &str, answer: &str) -> Result<Promise, JsValue> {
        let answer = match answer {
            "accept" => Answer::Accept,
            "deny" => Answer::Deny,
            "revoke" => Answer::Revoke,
            _ => return Err(type_error("answer must be accept, deny or revoke")),
        };
        Ok(self.shell.command(&|role, now| role.answer_request(now, user_id, answer)))
    }

    /// Puts somebody of the list into a group, or out of it.
    #[wasm_bindgen(js_name = setGroup)]
    pub fn set_group(&self, user_id: &str, group: &str, inside: bool) -> Promise {
        let placement = if inside { Placement::Inside } else { Placement::Outside };
        self.shell.command(&|role, now| role.place_in_group(now, user_id, group, placement))
    }

    /// A new room with everybody of a group.
    #[wasm_bindgen(js_name = inviteGroup)]
    pub fn invite_group(&self, group: &str, name: Option<String>) -> Promise {
        self.shell.command(&|role, now| role.invite_group(now, group, name.as_deref()))
    }

    /// With whom presence is shared, and who may begin a chat.
    pub fn privacy(&self) -> Promise {
        self.shell.command(&|role, now| role.privacy(now))
    }

    /// Sets all of it.
    #[wasm_bindgen(js_name = setPrivacy)]
    pub fn set_privacy(&self, privacy: &JsValue) -> Result<Promise, JsValue> {
        let text = object_text(privacy, "privacy")?;
        Ok(self.shell.command(&|role, now| role.set_privacy(now, &Object::parse_or_empty(&text))))
    }

    /// Whether to tell the user of an event.
    #[wasm_bindgen(js_name = shouldNotify)]
    pub fn should_notify(&self, item: &JsValue) -> Result<bool, JsValue> {
        let text = object_text(item, "item")?;
        Ok(self.shell.read(|role| role.should_notify(&Object::parse_or_empty(&text))))
    }

    /// What the user set for that.
    #[wasm_bindgen(getter, js_name = notifySettings)]
    pub fn notify_settings(&self) -> JsValue {
        self.shell.read(|role| parse(&settings_json(role.notify_settings(), Naming::Application)))
    }

    /// Sets it, for all devices.
    #[wasm_bindgen(js_name = setNotifySettings)]
    pub fn set_notify_settings(&self, settings: &JsValue) -> Result<Promise, JsValue> {
        let text = object_text(settings, "settings")?;
        let settings = checked_settings(&Object::parse_or_empty(&text))
            .ok_or_else(|| type_error("settings must be { mutedIn, groups } of words that there are"))?;
        Ok(self.shell.command(&|role, now| role.set_notify_settings(now, settings.clone())))
    }

    /// All rooms.
    pub fn rooms(&self) -> JsValue {
        self.shell.read(|role| to_js(&role.rooms()))
    }

    /// One room's timeline.
    pub fn timeline(&self, room_id: &str) -> JsValue {
        self.shell.read(|role| to_js(&role.timeline(room_id)))
    }

    /// One room's members.
    pub fn members(&self, room_id: &str) -> JsValue {
        let mut members = JsValue::UNDEFINED;
        self.shell.input(&mut |role, now| members = to_js(&role.members(room_id, now)));
        members
    }

    /// Sends an event; answers the action's ID.
    pub fn send(&self, room_id: &str, kind: &str, content: &JsValue) -> Result<f64, JsValue> {
        let content = object_text(content, "content")?;
        self.shell.learn_last_id();
        let mut sent = Ok(0.0);
        self.shell.input(&mut |role, now| {
            sent = role.send(now, room_id, kind, &content).map(|id| id.0 as f64);
        });
        sent.map_err(|failure| error(&failure))
    }

    /// Tries an action again.
    pub fn retry(&self, action_id: f64) -> Result<(), JsValue> {
        let id = ActionId(integer(action_id, "actionId")?);
        self.shell.input(&mut |role, now| role.retry(now, id));
        Ok(())
    }

    /// Takes an action back.
    pub fn cancel(&self, action_id: f64) -> Result<(), JsValue> {
        let id = ActionId(integer(action_id, "actionId")?);
        self.shell.input(&mut |role, now| role.cancel(now, id));
        Ok(())
    }

    /// Creates a room.
    #[wasm_bindgen(js_name = createRoom)]
    pub fn create_room(&self, room: &JsValue) -> Result<Promise, JsValue> {
        let room = NewRoom::read(&Object::parse_or_empty(&object_text(room, "room")?));
        Ok(self.shell.command(&|role, now| role.create_room(now, &room)))
    }

    /// Joins a room.
    #[wasm_bindgen(js_name = joinRoom)]
    pub fn join_room(&self, id_or_alias: &str) -> Promise {
        self.shell.command(&|role, now| role.join_room(now, id_or_alias))
    }

    /// Leaves a room.
    #[wasm_bindgen(js_name = leaveRoom)]
    pub fn leave_room(&self, room_id: &str) -> Promise {
        self.shell.command(&|role, now| role.leave_room(now, room_id))
    }

    /// Forgets a room.
    #[wasm_bindgen(js_name = forgetRoom)]
    pub fn forget_room(&self, room_id: &str) -> Promise {
        self.shell.command(&|role, now| role.forget_room(now, room_id))
    }

    /// Invites a user.
    pub fn invite(&self, room_id: &str, user_id: &str) -> Promise {
        self.shell.command(&|role, now| role.invite(now, room_id, user_id))
    }

    /// Puts a user out.
    pub fn kick(&self, room_id: &str, user_id: &str, reason: Option<String>) -> Promise {
        self.shell.command(&|role, now| role.kick(now, room_id, user_id, reason.as_deref()))
    }

    /// Takes an event's content away.
    pub fn redact(&self, room_id: &str, event_id: &str, reason: Option<String>) -> Promise {
        self.shell.learn_last_id();
        self.shell.command(&|role, now| role.redact(now, room_id, event_id, reason.as_deref()))
    }

    /// Asks for older events.
    #[wasm_bindgen(js_name = scrollBack)]
    pub fn scroll_back(&self, room_id: &str, limit: Option<f64>) -> Result<Promise, JsValue> {
        let limit = u32::try_from(integer(limit.unwrap_or(50.0), "limit")?).unwrap_or(u32::MAX);
        Ok(self.shell.command(&|role, now| role.scroll_back(now, room_id, limit)))
    }

    /// Searches the directory.
    #[wasm_bindgen(js_name = publicRooms)]
    pub fn public_rooms(&self, search: Option<String>) -> Promise {
        self.shell.command(&|role, now| role.public_rooms(now, search.as_deref()))
    }

    /// Tells a room that the user types.
    #[wasm_bindgen(js_name = setTyping)]
    pub fn set_typing(&self, room_id: &str, typing: bool) {
        self.shell.input(&mut |role, now| role.set_typing(now, room_id, typing));
    }

    /// The user has read a room to its end.
    #[wasm_bindgen(js_name = markRead)]
    pub fn mark_read(&self, room_id: &str) {
        self.shell.input(&mut |role, now| role.mark_read(now, room_id));
    }

    /// Any request to the homeserver.
    pub fn request(&self, method: &str, path: &str, body: &JsValue) -> Result<Promise, JsValue> {
        let method = match method {
            "GET" => "GET",
            "POST" => "POST",
            "PUT" => "PUT",
            "DELETE" => "DELETE",
            _ => return Err(type_error("method must be GET, POST, PUT or DELETE")),
        };
        if !path.starts_with("/_matrix/") {
            return Err(type_error("path must begin with /_matrix/"));
        }
        let body = if body.is_undefined() { None } else { Some(stringify(body, "body")?) };
        Ok(self.shell.command(&|role, now| role.call(now, method, path, body.clone())))
    }
}
