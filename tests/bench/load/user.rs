//! The users: made once, kept in a file, and what each of them says to the server.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Error, http::Connection};

/// A logged-in user.
#[derive(Clone, Deserialize, Serialize)]
pub struct User {
    pub user_id: String,
    pub access_token: String,
    #[serde(default)]
    pub address: String,
}

/// What is kept between runs.
#[derive(Default, Deserialize, Serialize)]
pub struct File {
    /// The room that all are in.
    pub room: String,
    /// Others, which all are in.
    #[serde(default)]
    pub rooms: Vec<String>,
    pub users: Vec<User>,
}

/// Registers `count` users, puts them into one room and writes them down.
pub async fn prepare(address: &str, count: usize, file: &Path) -> Result<(), Error> {
    let mut connection = Connection::open(address).await?;
    let mut users: Vec<User> = Vec::with_capacity(count);
    for n in 0..count {
        let body = json!({ "username": format!("user{n}"), "password": "correct horse", "auth": { "type": "m.login.dummy" } });
        let answer = ok(&mut connection, "POST", "/_matrix/client/v3/register", "", &body).await?;
        users.push(serde_json::from_value(answer)?);
    }
    save(&File { users, ..File::default() }, file)?;
    gather(address, file).await
}

/// Puts the users who are written down into one room, and writes that down.
pub async fn gather(address: &str, file: &Path) -> Result<(), Error> {
    let mut connection = Connection::open(address).await?;
    let mut kept = load(address, file)?;
    kept.room = shared(&mut connection, &kept.users).await?;
    save(&kept, file)
}

/// Puts them into as many other rooms.
pub async fn fill(address: &str, file: &Path, rooms: usize) -> Result<(), Error> {
    let mut connection = Connection::open(address).await?;
    let mut kept = load(address, file)?;
    for _ in 0..rooms {
        kept.rooms.push(shared(&mut connection, &kept.users).await?);
    }
    save(&kept, file)
}

/// A new room with all of the users.
async fn shared(connection: &mut Connection, users: &[User]) -> Result<String, Error> {
    let mut room = String::new();
    for user in users {
        if room.is_empty() {
            let body = json!({ "preset": "public_chat" });
            let made =
                ok(connection, "POST", "/_matrix/client/v3/createRoom", &user.access_token, &body).await?;
            room = made["room_id"].as_str().ok_or("no room_id")?.to_owned();
        } else {
            let path = format!("/_matrix/client/v3/join/{}", encoded(&room));
            ok(connection, "POST", &path, &user.access_token, &json!({})).await?;
        }
    }
    Ok(room)
}

/// Writes the rooms, if there are some, and the users down.
pub fn save(kept: &File, file: &Path) -> Result<(), Error> {
    fs::write(file, serde_json::to_vec(kept)?)?;
    Ok(())
}

/// What was written down.
pub fn load(address: &str, file: &Path) -> Result<File, Error> {
    let mut kept: File = serde_json::from_slice(&fs::read(file)?)?;
    for user in &mut kept.users {
        address.clone_into(&mut user.address);
    }
    Ok(kept)
}

impl User {
    pub async fn put_presence(&self, connection: &mut Connection, status_msg: &str) -> Result<(), Error> {
        let path = format!("/_matrix/client/v3/presence/{}/status", encoded(&self.user_id));
        let body = json!({ "presence": "online", "status_msg": status_msg });
        ok(connection, "PUT", &path, &self.access_token, &body).await.map(drop)
    }

    pub async fn send(&self, connection: &mut Connection, room: &str, text: &str) -> Result<(), Error> {
        let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/{text}", encoded(room));
        let body = json!({ "msgtype": "m.text", "body": text });
        ok(connection, "PUT", &path, &self.access_token, &body).await.map(drop)
    }
}

/// A request whose answer must be 200.
pub async fn ok(
    connection: &mut Connection,
    method: &str,
    path: &str,
    token: &str,
    body: &Value,
) -> Result<Value, Error> {
    let answer = connection.request(method, path, token, Some(body)).await?;
    if answer.status != 200 {
        let text = String::from_utf8_lossy(&answer.body);
        return Err(format!("{method} {path}: {} {text}", answer.status).into());
    }
    Ok(serde_json::from_slice(&answer.body)?)
}

/// An identifier as one part of a path.
pub fn encoded(part: &str) -> String {
    part.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
