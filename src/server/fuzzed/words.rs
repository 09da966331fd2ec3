//! Words with a form of their own: states, kinds of devices, names of groups, users and users' settings.

use std::{fmt::Debug, str::FromStr};

use ruma::server_name;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    core::{
        list::{AclPointer, GroupName},
        policy::Policy,
        presence::{Choice, DeviceType, MatrixState, State, StatusMsg},
        visibility::{Share, Sharing},
    },
    server::accounts::username::username,
};

/// Each word is refused, or is within its bounds and comes back as it went.
pub(super) fn words(data: &[u8]) {
    let Ok(word) = str::from_utf8(data) else { return };
    same::<State>(word, State::as_str);
    same::<Choice>(word, Choice::as_str);
    same::<MatrixState>(word, MatrixState::as_str);
    if let Ok(kind) = word.parse::<DeviceType>() {
        assert_eq!(kind.as_str(), word);
        assert!((1..=32).contains(&word.len()));
        by_json(&kind);
    }
    for (name, most) in [
        (GroupName::new(word).map(|name| name.as_str().to_owned()), 64),
        (AclPointer::new(word).map(|name| name.as_str().to_owned()), 255),
    ] {
        assert!(name.is_err() || (word.len() <= most && !word.trim().is_empty()));
        assert!(name.is_err() || name == Ok(word.to_owned()));
    }
    if let Ok(status) = StatusMsg::set(word.to_owned()) {
        assert!(word.len() <= StatusMsg::MAX_BYTES);
        assert_eq!(status == StatusMsg::Clear, word.is_empty());
    }
    if let Ok(user) = username(word, server_name!("a.example")) {
        assert!(user.as_str().len() <= 255);
        assert_eq!(user.localpart(), word.to_ascii_lowercase());
        assert_eq!(user.server_name(), "a.example");
    }
    settings(word);
}

/// What users set as JSON.
fn settings(json: &str) {
    if let Ok(status) = serde_json::from_str::<StatusMsg>(json) {
        assert!(!status.is_keep(), "what is there is not unchanged");
        by_json(&status);
    }
    if let Ok(policy) = serde_json::from_str::<Policy>(json) {
        by_json(&policy);
    }
    if let Ok(sharing) = serde_json::from_str::<Sharing>(json) {
        by_json(&sharing);
    }
    if let Ok(share) = serde_json::from_str::<Share>(json) {
        by_json(&share);
    }
}

fn same<T: FromStr + Copy + PartialEq + Debug + Serialize + DeserializeOwned>(
    word: &str,
    written: fn(T) -> &'static str,
) {
    if let Ok(value) = word.parse::<T>() {
        assert_eq!(written(value), word);
        by_json(&value);
    }
}

fn by_json<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let json = serde_json::to_string(value).expect("can be written");
    assert_eq!(serde_json::from_str::<T>(&json).as_ref().ok(), Some(value), "{json}");
}
