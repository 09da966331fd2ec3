//! The few acts that ask several services in order.

use std::sync::Arc;

use ruma::OwnedUserId;

use super::parts::App;
use crate::server::{finish::finish, profile::ProfileField, rooms};

impl App {
    /// Sets or removes a part of the user's profile; then everybody who sees the user is told (P10).
    ///
    /// # Errors
    /// [`rooms::Refusal::Store`] when the store fails.
    pub async fn set_profile_field(
        self: &Arc<Self>,
        user: OwnedUserId,
        field: ProfileField,
        value: Option<String>,
    ) -> Result<(), rooms::Refusal> {
        let app = Arc::clone(self);
        finish(async move {
            app.store.set_profile_field(user.clone(), field, value).await?;
            app.rooms.handle_profile_change(&user).await
        })
        .await
    }
}
