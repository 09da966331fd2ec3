//! What servers say to each other of devices: on the wire, and whether one may say it.
//!
//! The EDUs `m.device_list_update`, `m.signing_key_update` and `m.direct_to_device`, and the answers to requests for keys.
//! Whether the keys are good is for clients to say; here they are bounded, and are those of whom they are said to be.
//! Source: Matrix server-server API, "Device Management", "End-to-End Encryption", "Send-to-device messaging".

use std::collections::BTreeMap;

use ruma::{OwnedUserId, ServerName, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use super::signed::cross_signing_key;
use crate::server::{
    json::{is_too_deep, json_depth},
    store::{ReceivedMessage, Recipients, RemoteChange, Snapshot},
};

/// The types of EDUs about devices.
pub const DEVICE_LIST: &str = "m.device_list_update";
/// A user's cross-signing keys are others.
pub const SIGNING_KEYS: &str = "m.signing_key_update";
/// Messages for devices.
pub const DIRECT: &str = "m.direct_to_device";

/// Bytes of one key, or of one device's keys, at most.
const MAX_KEY: usize = 16 << 10;

/// Objects and lists within each other in them, at most.
const MAX_KEY_DEPTH: usize = 32;

/// Devices of one user that are taken, at most.
pub const MAX_DEVICES: usize = 1_000;

/// The longest name of a device, identifier, or ID of a message, in bytes.
const MAX_NAME: usize = 255;

/// Devices for which there is a message in one EDU, at most; and the bytes of what is for one of them.
pub const MAX_RECIPIENTS: usize = 10_000;
const MAX_MESSAGE: usize = 64 << 10;

/// Versions of a list that one change can name as those before it, at most.
const MAX_PREVIOUS: usize = 100;

/// An EDU about devices, judged.
#[derive(Debug)]
pub enum DeviceEdu {
    /// The devices or keys of a user of the sending server are others.
    Changed(OwnedUserId, RemoteChange),
    /// Messages of a user of that server for devices of this one.
    Messages(ReceivedMessage),
}

#[derive(Deserialize)]
struct DeviceListUpdate {
    user_id: OwnedUserId,
    device_id: String,
    stream_id: i64,
    #[serde(default)]
    prev_id: Option<Vec<i64>>,
    #[serde(default)]
    deleted: Option<bool>,
    #[serde(default)]
    keys: Option<Map<String, Value>>,
    #[serde(default)]
    device_display_name: Option<String>,
}

#[derive(Deserialize)]
struct SigningKeyUpdate {
    user_id: OwnedUserId,
    #[serde(default)]
    master_key: Option<Value>,
    #[serde(default)]
    self_signing_key: Option<Value>,
}

#[derive(Deserialize)]
struct DirectToDevice<'a> {
    sender: OwnedUserId,
    r#type: String,
    message_id: String,
    #[serde(borrow)]
    messages: BTreeMap<OwnedUserId, BTreeMap<String, &'a RawValue>>,
}

/// A message as the device gets it.
#[derive(Serialize)]
pub struct MessageEvent<'a> {
    /// Its type.
    pub r#type: &'a str,
    /// Who sent it.
    pub sender: &'a str,
    /// Its content.
    pub content: &'a RawValue,
}

/// Whether EDUs of a type are about devices.
pub fn is_device_edu(edu_type: &str) -> bool {
    [DEVICE_LIST, SIGNING_KEYS, DIRECT].contains(&edu_type)
}

impl DeviceEdu {
    /// Reads an EDU that `origin` sent to `own`, and judges whether that is for it to say.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judged(
        edu_type: &str,
        content: &RawValue,
        origin: &ServerName,
        own: &ServerName,
    ) -> Result<Self, &'static str> {
        match edu_type {
            DEVICE_LIST => {
                device_list_update(content, origin).map(|(user, change)| Self::Changed(user, change))
            }
            SIGNING_KEYS => {
                signing_key_update(content, origin).map(|(user, change)| Self::Changed(user, change))
            }
            DIRECT => messages(content, origin, own).map(Self::Messages),
            _ => Err("it is not about devices"),
        }
    }
}

const FOREIGN: &str = "a server speaks for its own users only";
const FORM: &str = "the content is not as it is to be";

fn device_list_update(
    content: &RawValue,
    origin: &ServerName,
) -> Result<(OwnedUserId, RemoteChange), &'static str> {
    let said: DeviceListUpdate = serde_json::from_str(content.get()).map_err(|_| FORM)?;
    let DeviceListUpdate { user_id, device_id, stream_id, prev_id, deleted, keys, device_display_name } =
        said;
    if user_id.server_name() != origin {
        return Err(FOREIGN);
    }
    let previous = prev_id.unwrap_or_default();
    if device_id.is_empty() || device_id.len() > MAX_NAME || previous.len() > MAX_PREVIOUS {
        return Err("something in it is too long");
    }
    let name = device_display_name.filter(|name| name.len() <= MAX_NAME);
    let keys = match (deleted, keys) {
        (Some(true), _) | (_, None) => None,
        (_, Some(keys)) => {
            let (keys, _) =
                device_keys(&user_id, &device_id, keys).ok_or("the keys are not that device's")?;
            Some((keys, name))
        }
    };
    Ok((user_id, RemoteChange::Device { device: device_id, stream_id, previous, keys }))
}

fn signing_key_update(
    content: &RawValue,
    origin: &ServerName,
) -> Result<(OwnedUserId, RemoteChange), &'static str> {
    let SigningKeyUpdate { user_id, master_key, self_signing_key } =
        serde_json::from_str(content.get()).map_err(|_| FORM)?;
    if user_id.server_name() != origin {
        return Err(FOREIGN);
    }
    let given = usize::from(master_key.is_some()) + usize::from(self_signing_key.is_some());
    let keys = cross_signing(&user_id, master_key, self_signing_key);
    if keys.is_empty() || keys.len() < given {
        return Err("the keys are none of that user's");
    }
    Ok((user_id, RemoteChange::CrossSigning(keys)))
}

fn messages(
    content: &RawValue,
    origin: &ServerName,
    own: &ServerName,
) -> Result<ReceivedMessage, &'static str> {
    let DirectToDevice { sender, r#type, message_id, messages } =
        serde_json::from_str(content.get()).map_err(|_| FORM)?;
    if sender.server_name() != origin {
        return Err(FOREIGN);
    }
    if message_id.len() > MAX_NAME || r#type.len() > MAX_NAME {
        return Err("something in it is too long");
    }
    if messages.values().map(BTreeMap::len).sum::<usize>() > MAX_RECIPIENTS {
        return Err("it is for too many devices");
    }
    let mut to = Vec::new();
    for (user, devices) in messages.into_iter().filter(|(user, _)| user.server_name() == own) {
        for (device, content) in devices {
            if !content.get().starts_with('{') || content.get().len() > MAX_MESSAGE {
                return Err("a message is no object, or too long");
            }
            if is_too_deep(content.get()) {
                return Err("a message is too deep");
            }
            let event = MessageEvent { r#type: &r#type, sender: sender.as_str(), content };
            let event = serde_json::to_string(&event).map_err(|_| FORM)?;
            let recipients = match device.as_str() {
                "*" => Recipients::All,
                _ => Recipients::One(device.into()),
            };
            to.push((user.clone(), recipients, event));
        }
    }
    Ok(ReceivedMessage { message_id, to })
}

/// The answer to `GET user/devices/{userId}`.
#[derive(Deserialize)]
struct Devices {
    user_id: OwnedUserId,
    #[serde(default)]
    stream_id: Option<i64>,
    devices: Vec<Device>,
    #[serde(default)]
    master_key: Option<Value>,
    #[serde(default)]
    self_signing_key: Option<Value>,
}

#[derive(Deserialize)]
struct Device {
    device_id: String,
    #[serde(default)]
    keys: Option<Map<String, Value>>,
    #[serde(default)]
    device_display_name: Option<String>,
}

/// All devices of `user`, by the answer of their server. What of them cannot be used is left out; of a user with too many
/// devices all are.
///
/// # Errors
/// What is wrong with the answer.
pub fn snapshot(user: &UserId, answer: &RawValue) -> Result<Snapshot, &'static str> {
    let said: Devices = serde_json::from_str(answer.get()).map_err(|_| FORM)?;
    if said.user_id != user {
        return Err("it is about another user");
    }
    let mut devices = BTreeMap::new();
    if said.devices.len() <= MAX_DEVICES {
        for Device { device_id, keys, device_display_name } in said.devices {
            let name = device_display_name.filter(|name| name.len() <= MAX_NAME);
            if let Some((keys, _)) = keys.and_then(|keys| device_keys(user, &device_id, keys)) {
                devices.insert(device_id, (keys, name));
            }
        }
    }
    let cross_signing = cross_signing(user, said.master_key, said.self_signing_key);
    Ok(Snapshot { stream_id: said.stream_id, devices, cross_signing })
}

/// The answer to `POST user/keys/query`.
#[derive(Deserialize)]
struct Queried {
    #[serde(default)]
    device_keys: BTreeMap<OwnedUserId, BTreeMap<String, Map<String, Value>>>,
    #[serde(default)]
    master_keys: BTreeMap<OwnedUserId, Value>,
    #[serde(default)]
    self_signing_keys: BTreeMap<OwnedUserId, Value>,
}

/// The devices of those of `users` whom the answer of their server names. As for [`snapshot`].
///
/// # Errors
/// What is wrong with the answer.
pub fn queried<'a>(
    users: impl Iterator<Item = &'a OwnedUserId>,
    answer: &RawValue,
) -> Result<BTreeMap<OwnedUserId, Snapshot>, &'static str> {
    let mut said: Queried = serde_json::from_str(answer.get()).map_err(|_| FORM)?;
    let of = |user: &OwnedUserId| {
        let devices = said.device_keys.remove(user).unwrap_or_default();
        let devices = if devices.len() <= MAX_DEVICES { devices } else { BTreeMap::new() };
        let devices = devices.into_iter().filter_map(|(device, keys)| {
            let keys = device_keys(user, &device, keys)?;
            Some((device, keys))
        });
        let devices = devices.collect();
        let cross_signing =
            cross_signing(user, said.master_keys.remove(user), said.self_signing_keys.remove(user));
        (user.clone(), Snapshot { stream_id: None, devices, cross_signing })
    };
    Ok(users.map(of).collect())
}

/// The keys of a device as they are kept, and its name if it is said in them; `None`: they are not its, or too long.
fn device_keys(
    user: &UserId,
    device: &str,
    mut keys: Map<String, Value>,
) -> Option<(String, Option<String>)> {
    let is = |name: &str, value: &str| keys.get(name).and_then(Value::as_str) == Some(value);
    if device.is_empty()
        || device.len() > MAX_NAME
        || !is("user_id", user.as_str())
        || !is("device_id", device)
    {
        return None;
    }
    let unsigned = keys.remove("unsigned");
    let name = unsigned.as_ref().and_then(|unsigned| unsigned.get("device_display_name")?.as_str());
    let name = name.filter(|name| name.len() <= MAX_NAME).map(ToOwned::to_owned);
    let keys = Value::Object(keys).to_string();
    is_in_bounds(&keys).then_some((keys, name))
}

/// Whether a key, or the keys of a device, are as short and as flat as they may be.
fn is_in_bounds(keys: &str) -> bool {
    keys.len() <= MAX_KEY && json_depth(keys.as_bytes()) <= MAX_KEY_DEPTH
}

/// The cross-signing keys of `user` that are as they are to be, by usage.
fn cross_signing(
    user: &UserId,
    master: Option<Value>,
    self_signing: Option<Value>,
) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for (usage, key) in [("master", master), ("self_signing", self_signing)] {
        let Some(key) = key else { continue };
        // Who signed it, clients look at: it may be signed by a master key that was not sent along.
        let text = key.to_string();
        if cross_signing_key(user, usage, &key, None).is_ok() && is_in_bounds(&text) {
            keys.insert(usage.to_owned(), text);
        }
    }
    keys
}

/// The answer to `POST user/keys/claim`: by user, device, and the key's name.
pub type Claimed = BTreeMap<OwnedUserId, BTreeMap<String, Map<String, Value>>>;

/// The keys that a server handed out, of those that were claimed: `wanted` has the algorithm for each device.
///
/// # Errors
/// What is wrong with the answer.
pub fn claimed(
    wanted: &BTreeMap<OwnedUserId, BTreeMap<String, String>>,
    answer: &RawValue,
) -> Result<Claimed, &'static str> {
    #[derive(Deserialize)]
    struct Answer {
        one_time_keys: Claimed,
    }
    let Answer { mut one_time_keys } = serde_json::from_str(answer.get()).map_err(|_| FORM)?;
    one_time_keys.retain(|user, devices| {
        let Some(wanted) = wanted.get(user) else { return false };
        devices.retain(|device, keys| {
            let Some(algorithm) = wanted.get(device) else { return false };
            let is_wanted = |name: &str| name.split_once(':').is_some_and(|(of, _)| of == algorithm);
            let is_key = |key: &Value| (key.is_object() || key.is_string()) && is_in_bounds(&key.to_string());
            keys.retain(|name, key| is_wanted(name) && is_key(key));
            // One key was claimed.
            keys.len() == 1
        });
        !devices.is_empty()
    });
    Ok(one_time_keys)
}
