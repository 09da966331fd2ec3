//! What other servers say of devices: in EDUs, and when they are asked.

use std::collections::BTreeMap;

use ruma::{OwnedUserId, ServerName, server_name, user_id};
use serde_json::value::RawValue;

use crate::server::{
    devices::across::{DeviceEdu, MAX_DEVICES, MAX_RECIPIENTS, claimed, queried, snapshot},
    store::{RemoteChange, Snapshot},
};

const MAX_KEY: usize = 16 << 10;
const MAX_MESSAGE: usize = 64 << 10;
const MAX_NAME: usize = 255;

/// The type of an EDU in the first line, its content below; or what is asked, `devices`, `query` or `claim`, and the answer:
/// what is taken is within its bounds, of users of the server that says it, and for users of the one that hears it.
pub(super) fn device_talk(data: &[u8]) {
    let Some((kind, json)) = str::from_utf8(data).ok().and_then(|text| text.split_once('\n')) else { return };
    let Ok(json) = RawValue::from_string(json.to_owned()) else { return };
    let (origin, own) = (server_name!("b.example"), server_name!("a.example"));
    let bob = user_id!("@bob:b.example").to_owned();
    match kind {
        "devices" => {
            if let Ok(list) = snapshot(&bob, &json) {
                check_list(&list);
            }
        }
        "query" => {
            let users = [bob];
            let Ok(lists) = queried(users.iter(), &json) else { return };
            assert_eq!(lists.keys().collect::<Vec<_>>(), [&users[0]]);
            lists.values().for_each(check_list);
        }
        "claim" => check_claim(bob, &json),
        _ => {
            if let Ok(edu) = DeviceEdu::judged(kind, &json, origin, own) {
                check_edu(edu, origin, own);
            }
        }
    }
}

fn check_edu(edu: DeviceEdu, origin: &ServerName, own: &ServerName) {
    match edu {
        DeviceEdu::Changed(user, change) => {
            assert_eq!(user.server_name(), origin);
            match change {
                RemoteChange::Device { device, keys, .. } => {
                    assert!((1..=MAX_NAME).contains(&device.len()));
                    keys.iter().for_each(check_device);
                }
                RemoteChange::CrossSigning(keys) => check_cross_signing(&keys),
            }
        }
        DeviceEdu::Messages(message) => {
            assert!(message.message_id.len() <= MAX_NAME && message.to.len() <= MAX_RECIPIENTS);
            for (user, _, event) in message.to {
                assert_eq!(user.server_name(), own);
                assert!(event.len() <= MAX_MESSAGE + 6 * 2 * MAX_NAME + 100, "{}", event.len());
                let event: serde_json::Value = serde_json::from_str(&event).expect("is JSON");
                assert!(event["content"].is_object());
                let sender = event["sender"].as_str().and_then(|sender| OwnedUserId::try_from(sender).ok());
                assert_eq!(sender.expect("a user").server_name(), origin);
            }
        }
    }
}

fn check_list(list: &Snapshot) {
    assert!(list.devices.len() <= MAX_DEVICES);
    list.devices.values().for_each(check_device);
    check_cross_signing(&list.cross_signing);
}

fn check_device((keys, name): &(String, Option<String>)) {
    assert!(keys.len() <= MAX_KEY && name.as_ref().is_none_or(|name| name.len() <= MAX_NAME));
    let keys: serde_json::Value = serde_json::from_str(keys).expect("is JSON");
    assert!(keys["user_id"].as_str().is_some_and(|user| user.ends_with(":b.example")));
    assert!(keys.get("unsigned").is_none(), "what servers add is not the device's");
}

fn check_cross_signing(keys: &BTreeMap<String, String>) {
    for (usage, key) in keys {
        assert!(["master", "self_signing"].contains(&usage.as_str()) && key.len() <= MAX_KEY);
        assert!(serde_json::from_str::<serde_json::Value>(key).is_ok_and(|key| key.is_object()));
    }
}

fn check_claim(bob: OwnedUserId, json: &RawValue) {
    let devices = BTreeMap::from([("DEVICE".to_owned(), "signed_curve25519".to_owned())]);
    let Ok(keys) = claimed(&BTreeMap::from([(bob.clone(), devices)]), json) else { return };
    for (user, devices) in keys {
        assert_eq!(user, bob);
        for (device, keys) in devices {
            assert_eq!((device.as_str(), keys.len()), ("DEVICE", 1));
            assert!(keys.keys().all(|name| name.starts_with("signed_curve25519:")));
        }
    }
}
