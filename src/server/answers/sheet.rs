//! An answer that is being written, piece by piece.

use std::sync::Arc;

use axum::body::{Body, Bytes};

use super::{
    body,
    places::Place,
    room::{NoRoom, Written},
};
use crate::server::json::Writer;

/// Bytes that are written before they are handed over.
const PIECE: usize = 64 << 10;

/// An answer that is being written.
#[derive(Debug)]
pub struct Sheet {
    place: Place,
    written: Written,
}

impl Sheet {
    /// One at a place: nothing is written on it.
    pub fn new(place: Place) -> Self {
        let written = Written::new(&place.room, &place.client.name);
        Self { place, written }
    }

    /// Takes over what `out` has, once that is a piece; and lets those go first who have used the places less, once the
    /// client has had theirs for long. All who let others go first wait at the same time: who has much in memory beside
    /// `out` uses [`Self::put`] until it is written.
    ///
    /// # Errors
    /// [`NoRoom`] when neither the disk nor the memory for answers takes it.
    pub(in crate::server) async fn take(&mut self, out: &mut Writer) -> Result<(), NoRoom> {
        let over = self.place.is_over();
        if out.len() >= PIECE || over && out.len() > body::SMALL {
            out.hand_over(|bytes| self.written.put(bytes))?;
        }
        if over {
            self.place.again().await;
        }
        Ok(())
    }

    /// Takes over what `out` has, once that is a piece, and keeps the place.
    ///
    /// # Errors
    /// [`NoRoom`] when neither the disk nor the memory for answers takes it.
    pub(in crate::server) fn put(&mut self, out: &mut Writer) -> Result<(), NoRoom> {
        if out.len() >= PIECE {
            out.hand_over(|bytes| self.written.put(bytes))?;
        }
        Ok(())
    }

    /// Lets those go first who have used the places less, once the client has had theirs for long.
    pub async fn pause(&mut self) {
        if self.place.is_over() {
            self.place.again().await;
        }
    }

    /// What is to be sent: all that was taken over, and what `out` has beside it. The place is free when this returns; the
    /// client may have one more answer made when this one was taken, or the connection is gone.
    ///
    /// # Errors
    /// [`NoRoom`] when neither the disk nor the memory for answers takes it.
    pub(in crate::server) fn body(self, out: Writer) -> Result<Body, NoRoom> {
        let Self { place, written } = self;
        let mut rest = out.finish();
        rest.shrink_to_fit();
        if written.is_empty() {
            return place.body(rest.into());
        }
        let (room, client) = (place.room.clone(), Arc::clone(&place.client.name));
        body::of(&room, &client, Some(written), rest.into(), Some(place.of_client))
    }

    /// What is to be sent of an answer that was made in one piece.
    ///
    /// # Errors
    /// As for [`Self::body`].
    pub fn body_of(self, answer: Bytes) -> Result<Body, NoRoom> {
        self.place.body(answer)
    }
}
