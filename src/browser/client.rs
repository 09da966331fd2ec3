//! The class that JavaScript sees. Its types are written in `pkg/index.d.ts`.

use std::rc::Rc;
use std::time::Duration;

use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;

use super::json::{error, give, integer, object_text, parse, range_error, to_js, type_error};
use super::options;
use super::session::read_session;
use super::shell::{EVENTS, Shell};
use crate::core::action::ids::ActionId;
use crate::core::client::call::BadCall;
use crate::core::client::commands::Told;
use crate::core::client::notify::{Naming, settings_json};
use crate::core::client::phone::PhoneError;
use crate::core::idle::System;
use crate::core::wire::object::Object;

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
        let session = read_session(session)?;
        Ok(Self { shell: Shell::new(session, options::check(options)?) })
    }

    /// The session it was made for.
    #[wasm_bindgen(getter)]
    pub fn session(&self) -> JsValue {
        give(&self.shell.session)
    }

    /// The connection's state.
    #[wasm_bindgen(getter)]
    pub fn connection(&self) -> JsValue {
        self.shell.read(|role| JsValue::from_str(role.connection().as_str()))
    }

    /// How many actions the server is not known to have, other tabs' too.
    #[wasm_bindgen(getter)]
    pub fn waiting(&self) -> usize {
        self.shell.waiting()
    }

    /// Whether the user is idle at this device.
    #[wasm_bindgen(getter)]
    pub fn idle(&self) -> bool {
        self.shell.read(|role| role.is_idle())
    }

    /// What the own user chose and is called.
    #[wasm_bindgen(getter)]
    pub fn me(&self) -> JsValue {
        self.shell.read(|role| give(role.me()))
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

    /// Tries at once to find a server that is away.
    pub fn reconnect(&self) {
        self.shell.input(&mut |role, now| role.handle_woken(now));
    }

    /// Gives up all requests and falls silent.
    pub fn stop(&self) -> Promise {
        self.shell.input(&mut |role, now| role.stop(now));
        Promise::resolve(&JsValue::UNDEFINED)
    }

    /// One user's presence.
    #[wasm_bindgen(js_name = presenceOf)]
    pub fn presence_of(&self, user_id: &str) -> JsValue {
        self.shell.read(|role| role.presence_of(user_id).map_or(JsValue::UNDEFINED, |known| to_js(&known)))
    }

    /// Everybody's presence.
    pub fn presences(&self) -> JsValue {
        self.shell.read(|role| to_js(&role.presences().collect::<Vec<_>>()))
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

    /// All rooms.
    pub fn rooms(&self) -> JsValue {
        self.shell.read(|role| to_js(&role.rooms()))
    }

    /// One room's timeline.
    pub fn timeline(&self, room_id: &str) -> JsValue {
        self.shell.read(|role| to_js(&role.timeline(room_id)))
    }

    /// The stretch of a room's past that `jump` opened.
    pub fn past(&self, room_id: &str) -> JsValue {
        self.shell.read(|role| to_js(&role.past(room_id)))
    }

    /// Why a user is shown as they are.
    pub fn explain(&self, user_id: &str) -> JsValue {
        self.shell.read_at(|role, now| to_js(&role.explain(user_id, now)))
    }

    /// One of them, as far as is known.
    pub fn member(&self, room_id: &str, user_id: &str) -> JsValue {
        self.shell
            .read(|role| role.member(room_id, user_id).map_or(JsValue::UNDEFINED, |known| to_js(&known)))
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

    /// Tells a room that the user types.
    #[wasm_bindgen(js_name = setTyping)]
    pub fn set_typing(&self, room_id: &str, typing: bool) {
        self.shell.input(&mut |role, now| role.set_typing(now, room_id, typing));
    }

    /// The user has read a room up to an event, or to its end.
    #[wasm_bindgen(js_name = markRead)]
    pub fn mark_read(&self, room_id: &str, event_id: Option<String>, private: Option<bool>) {
        let told = if private == Some(true) { Told::Nobody } else { Told::Everybody };
        self.shell.input(&mut |role, now| role.mark_read(now, room_id, event_id.as_deref(), told));
    }

    /// What the system knows of the user beyond the page: `active`, `locked`, or `idle` for so long.
    #[wasm_bindgen(js_name = handleSystem)]
    pub fn handle_system(&self, state: &str, idle_ms: f64) -> Result<(), JsValue> {
        let system = match state {
            "active" => System::Active,
            "locked" => System::Locked,
            "idle" => System::Idle { idle_for: Duration::from_millis(integer(idle_ms, "idleMs")?) },
            _ => return Err(type_error("state must be active, idle or locked")),
        };
        self.shell.input(&mut |role, now| role.handle_system(system, now));
        Ok(())
    }

    /// Whether this client has the stream for all clients of its session.
    pub fn lead(&self, leads: bool) {
        self.shell.input(&mut |role, now| role.handle_lead(now, leads));
    }

    /// Another client of this session tells something.
    #[wasm_bindgen(js_name = handleTab)]
    pub fn handle_tab(&self, message: &str) {
        self.shell.input(&mut |role, now| role.handle_tab(now, message));
    }

    /// Another client of this session has logged out.
    #[wasm_bindgen(js_name = handleLoggedOutElsewhere)]
    pub fn handle_logged_out_elsewhere(&self) {
        self.shell.input(&mut |role, now| role.handle_logged_out_elsewhere(now));
    }

    /// The calls that are not over.
    pub fn calls(&self) -> JsValue {
        self.shell.read(|role| to_js(&role.calls()))
    }

    /// What the user wishes of a call, or the page's script says of one.
    pub fn phone(&self, word: &str, arguments: &str) -> Result<JsValue, JsValue> {
        let mut answer = Ok(String::new());
        self.shell.input(&mut |role, now| answer = role.handle_phone(now, word, arguments));
        match answer {
            Ok(json) => Ok(parse(&json)),
            Err(PhoneError::Failed(failure)) => Err(error(&failure)),
            Err(PhoneError::Bad(bad)) => Err(type_error(&bad.to_string())),
        }
    }

    /// Gives a command by its name, with its arguments as a JSON array.
    pub fn command(&self, name: &str, arguments: &str) -> Result<Promise, JsValue> {
        if name == "redact" {
            self.shell.learn_last_id();
        }
        let given = self.shell.command(&|role, now| role.call(now, name, arguments));
        given.map_err(|refused| match refused {
            BadCall::Range(words) => range_error(&words),
            BadCall::Unknown(_) | BadCall::Argument(..) | BadCall::Field(_) => {
                type_error(&refused.to_string())
            }
        })
    }
}
