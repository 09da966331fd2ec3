//! People at one of the two servers.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{Error, http::Connection};

const OURS: &str = "/_matrix/client/unstable/org.pilotlight/presence";

/// A presence event that somebody was told of.
pub struct Told {
    /// By whom it was seen.
    pub observer: String,
    /// Of whom.
    pub user: String,
    /// What it said.
    pub status_msg: String,
    /// The state, of the seven.
    pub state: String,
}

/// A person with an account.
#[derive(Clone)]
pub struct User {
    pub id: String,
    token: String,
    address: String,
}

impl User {
    /// Makes an account.
    pub async fn register(address: &str, name: &str) -> Result<Self, Error> {
        let body =
            json!({ "username": name, "password": "correct horse", "auth": { "type": "m.login.dummy" } });
        let answer = call(address, "", "POST", "/_matrix/client/v3/register", Some(&body)).await?;
        let text = |key: &str| answer[key].as_str().map(str::to_owned).ok_or("an odd registration");
        Ok(Self { id: text("user_id")?, token: text("access_token")?, address: address.to_owned() })
    }

    async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        call(&self.address, &self.token, method, path, body).await
    }

    /// Puts `others` on the list.
    pub async fn ask(&self, others: &[User]) -> Result<(), Error> {
        let others: Vec<&str> = others.iter().map(|other| other.id.as_str()).collect();
        let path = format!("/_matrix/client/v3/presence/list/{}", encoded(&self.id));
        self.call("POST", &path, Some(&json!({ "invite": others }))).await.map(drop)
    }

    /// Waits until `other` has asked, accepts, and asks in turn.
    pub async fn befriend(&self, other: &User) -> Result<(), Error> {
        let requests = format!("{OURS}/requests/{}", encoded(&self.id));
        for _ in 0..600 {
            let answer = self.call("GET", &requests, None).await?;
            let asked = answer["requests"].as_array().is_some_and(|all| all.contains(&json!(other.id)));
            if asked {
                let path = format!("{requests}/{}", encoded(&other.id));
                self.call("POST", &path, Some(&json!({ "answer": "accept" }))).await?;
                return self.ask(std::slice::from_ref(other)).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(format!("{} was never asked by {}", self.id, other.id).into())
    }

    /// Shows something else.
    pub async fn show(&self, presence: &str, status_msg: &str) -> Result<(), Error> {
        let path = format!("/_matrix/client/v3/presence/{}/status", encoded(&self.id));
        let body = json!({ "presence": presence, "status_msg": status_msg });
        self.call("PUT", &path, Some(&body)).await.map(drop)
    }

    /// Keeps a long poll open from here on, until it is aborted.
    pub fn arrive(&self, told: mpsc::UnboundedSender<Told>) -> JoinHandle<()> {
        let user = self.clone();
        tokio::spawn(async move {
            if let Err(error) = user.poll(&told).await {
                eprintln!("{}: {error}", user.id);
            }
        })
    }

    async fn poll(&self, told: &mpsc::UnboundedSender<Told>) -> Result<(), Error> {
        let mut connection = Connection::open(&self.address).await?;
        let mut since = String::new();
        loop {
            let path = format!("/_matrix/client/v3/sync?timeout=30000{since}");
            let answer = connection.request("GET", &path, &self.token, None).await?;
            if answer.status != 200 {
                return Err(format!("/sync: {}", answer.status).into());
            }
            let answer: Value = serde_json::from_slice(&answer.body)?;
            since = format!("&since={}", encoded(answer["next_batch"].as_str().ok_or("no next_batch")?));
            for event in answer["presence"]["events"].as_array().into_iter().flatten() {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let content = &event["content"];
                let event = Told {
                    observer: self.id.clone(),
                    user: text(&event["sender"]),
                    status_msg: text(&content["status_msg"]),
                    state: text(&content["org.pilotlight.presence"]["state"]),
                };
                if told.send(event).is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// A request on a connection of its own, whose answer must be 200.
async fn call(
    address: &str,
    token: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, Error> {
    let mut connection = Connection::open(address).await?;
    let answer = connection.request(method, path, token, body).await?;
    if answer.status != 200 {
        let text = String::from_utf8_lossy(&answer.body);
        return Err(format!("{method} {path}: {} {text}", answer.status).into());
    }
    Ok(serde_json::from_slice(&answer.body)?)
}

/// An identifier as one part of a path.
fn encoded(part: &str) -> String {
    part.replace('%', "%25").replace('@', "%40").replace(':', "%3A")
}
