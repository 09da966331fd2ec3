//! What survives a restart of a user's presence.

use std::{str::FromStr, sync::Arc};

use ruma::OwnedUserId;
use rusqlite::{Connection, OptionalExtension, params};

use super::{database::Store, error::StoreError};
use crate::{
    core::{
        presence::{Choice, Record, State},
        time::UnixMillis,
    },
    server::{change::feed::Change, session::Session},
};

type Row =
    (String, String, bool, Option<String>, String, Option<String>, Option<i64>, Option<i64>, Option<String>);

impl Store {
    /// Keeps the presence of some users.
    pub async fn put_presence(&self, records: Vec<(OwnedUserId, Record)>) -> Result<(), StoreError> {
        self.write(move |c| records.iter().try_for_each(|(user, record)| put(c, user, record))).await
    }

    /// Keeps whether presence is delivered to a device.
    pub async fn put_presence_delivery(&self, session: Session, wanted: bool) -> Result<(), StoreError> {
        self.write(move |c| {
            let sql = if wanted {
                "DELETE FROM presence_stopped WHERE user_id = ?1 AND device_id = ?2"
            } else {
                "INSERT OR IGNORE INTO presence_stopped
                 SELECT user_id, device_id FROM devices WHERE user_id = ?1 AND device_id = ?2"
            };
            c.prepare_cached(sql)?.execute([session.user.as_str(), session.device.as_str()])?;
            c.tell(Change::PresenceDelivery { session, wanted });
            Ok(())
        })
        .await
    }

    /// The devices to which presence is not delivered.
    pub async fn presence_stopped(&self) -> Result<Vec<Session>, StoreError> {
        let rows: Vec<(String, String)> = self
            .read(|c| {
                c.prepare_cached("SELECT user_id, device_id FROM presence_stopped")?
                    .query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?
                    .collect()
            })
            .await?;
        let session = |(user, device): (String, String)| {
            let user = user.try_into().map_err(|e| StoreError::Corrupt(format!("user_id: {e}")))?;
            Ok(Session { user, device: device.into() })
        };
        rows.into_iter().map(session).collect()
    }

    /// Whether a device has used this project's words for presence.
    pub async fn uses_our_words(&self, session: &Session) -> Result<bool, StoreError> {
        self.read(|c| {
            c.prepare_cached("SELECT our_words FROM devices WHERE user_id = ?1 AND device_id = ?2")?
                .query_row([session.user.as_str(), session.device.as_str()], |row| row.get(0))
                .optional()
        })
        .await
        .map(|uses| uses.unwrap_or(false))
    }

    /// Keeps that a device has used this project's words for presence.
    pub async fn put_uses_our_words(&self, session: Session) -> Result<(), StoreError> {
        self.write(move |c| {
            c.prepare_cached("UPDATE devices SET our_words = 1 WHERE user_id = ?1 AND device_id = ?2")?
                .execute([session.user.as_str(), session.device.as_str()])?;
            Ok(())
        })
        .await
    }

    /// The presence of every user that is kept.
    pub async fn presence_records(&self) -> Result<Vec<(OwnedUserId, Record)>, StoreError> {
        let rows: Vec<Row> = self
            .read(|c| {
                c.prepare_cached(
                    "SELECT user_id, choice, signed_off, status_msg, shown, shown_status_msg, last_active_ms,
                        last_seen_ms, idle
                 FROM presence",
                )?
                .query_map([], |r| {
                    let (user, choice, signed_off, message) = (r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?);
                    let (shown, shown_message) = (r.get(4)?, r.get(5)?);
                    Ok((
                        user,
                        choice,
                        signed_off,
                        message,
                        shown,
                        shown_message,
                        r.get(6)?,
                        r.get(7)?,
                        r.get(8)?,
                    ))
                })?
                .collect()
            })
            .await?;
        rows.into_iter().map(record).collect()
    }
}

fn put(c: &Connection, user: &OwnedUserId, record: &Record) -> Result<(), StoreError> {
    let ms = |at: Option<UnixMillis>| at.map(|at| at.0.cast_signed());
    let idle = (!record.idle.is_empty()).then(|| serde_json::to_string(&record.idle)).transpose();
    let idle = idle.map_err(|e| StoreError::Corrupt(format!("presence: idle: {e}")))?;
    c.prepare_cached("INSERT OR REPLACE INTO presence VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?
        .execute(params![
            user.as_str(),
            record.choice.state().as_str(),
            record.signed_off,
            record.status_msg.as_deref(),
            record.shown.as_str(),
            record.shown_status_msg.as_deref(),
            ms(record.last_active),
            ms(record.last_seen),
            idle,
        ])?;
    Ok(())
}

fn record(
    (user, choice, signed_off, status_msg, shown, shown_status_msg, last_active, last_seen, idle): Row,
) -> Result<(OwnedUserId, Record), StoreError> {
    fn word<T: FromStr<Err: std::fmt::Display>>(word: &str) -> Result<T, StoreError> {
        word.parse().map_err(|e| StoreError::Corrupt(format!("presence: {e}")))
    }
    let corrupt = |e: serde_json::Error| StoreError::Corrupt(format!("presence: idle: {e}"));
    let ms = |at: Option<i64>| at.map(|at| UnixMillis(at.cast_unsigned()));
    let record = Record {
        choice: word::<Choice>(&choice)?,
        signed_off,
        status_msg: status_msg.map(Arc::from),
        shown: word::<State>(&shown)?,
        shown_status_msg: shown_status_msg.map(Arc::from),
        last_active: ms(last_active),
        last_seen: ms(last_seen),
        idle: idle.as_deref().map(serde_json::from_str).transpose().map_err(corrupt)?.unwrap_or_default(),
    };
    let user = user.try_into().map_err(|e| StoreError::Corrupt(format!("user_id: {e}")))?;
    Ok((user, record))
}
