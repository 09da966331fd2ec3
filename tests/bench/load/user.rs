//! The users: made once, kept in a file, and what each of them says to the server.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{Error, http::Connection};

/// Requests at once, where many are made.
const LANES: usize = 8;

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
    gather(address, file, 0).await
}

/// Puts the users who are written down into one room, with as many other state events, and writes that down.
pub async fn gather(address: &str, file: &Path, state: usize) -> Result<(), Error> {
    let mut kept = load(address, file)?;
    kept.room = shared(&kept.users).await?;
    if let Some(first) = kept.users.first() {
        at_once(address, (0..state).map(|n| first.set_state(&kept.room, n))).await?;
    }
    save(&kept, file)
}

/// Puts them into as many other rooms.
pub async fn fill(address: &str, file: &Path, rooms: usize) -> Result<(), Error> {
    let mut kept = load(address, file)?;
    for _ in 0..rooms {
        kept.rooms.push(shared(&kept.users).await?);
    }
    save(&kept, file)
}

/// A new room with all of the users.
async fn shared(users: &[User]) -> Result<String, Error> {
    let Some((first, others)) = users.split_first() else { return Ok(String::new()) };
    let mut connection = Connection::open(&first.address).await?;
    let body = json!({ "preset": "public_chat" });
    let made =
        ok(&mut connection, "POST", "/_matrix/client/v3/createRoom", &first.access_token, &body).await?;
    let room = made["room_id"].as_str().ok_or("no room_id")?.to_owned();
    let path = format!("/_matrix/client/v3/join/{}", encoded(&room));
    let joins = others.iter().map(|user| Request {
        method: "POST",
        path: path.clone(),
        token: user.access_token.clone(),
        body: json!({}),
    });
    at_once(&first.address, joins).await?;
    Ok(room)
}

/// What somebody asks for.
struct Request {
    method: &'static str,
    path: String,
    token: String,
    body: Value,
}

/// Makes all of the requests, some at once.
async fn at_once(address: &str, requests: impl Iterator<Item = Request>) -> Result<(), Error> {
    let mut lanes: Vec<Vec<Request>> = (0..LANES).map(|_| Vec::new()).collect();
    requests.enumerate().for_each(|(n, request)| lanes[n % LANES].push(request));
    let mut working = JoinSet::new();
    for lane in lanes {
        let address = address.to_owned();
        working.spawn(async move {
            let mut connection = Connection::open(&address).await?;
            for Request { method, path, token, body } in lane {
                ok(&mut connection, method, &path, &token, &body).await?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(done) = working.join_next().await {
        done??;
    }
    Ok(())
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

    /// Sets a state event that says nothing.
    fn set_state(&self, room: &str, n: usize) -> Request {
        let path = format!("/_matrix/client/v3/rooms/{}/state/org.pilotlight.bench/{n}", encoded(room));
        Request { method: "PUT", path, token: self.access_token.clone(), body: json!({ "n": n }) }
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
