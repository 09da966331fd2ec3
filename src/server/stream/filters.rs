//! The filters in use, parsed once.

use std::{collections::HashMap, sync::Arc};

use super::Filter;
use crate::server::{
    api::error::{ApiError, ApiResult},
    app::App,
    json::json_depth,
    session::Session,
};
use parking_lot::Mutex;

/// Filters that are kept at most; beyond it they are all forgotten, and parsed again when named.
const MAX_FILTERS: usize = 1024;

/// Parsed filters by what names them: their JSON, or user and ID. A stored filter never changes.
#[derive(Debug, Default)]
pub struct Filters(Mutex<HashMap<String, Arc<Filter>>>);

impl Filters {
    fn find(&self, name: &str) -> Option<Arc<Filter>> {
        self.0.lock().get(name).cloned()
    }

    fn keep(&self, name: String, filter: Filter) -> Arc<Filter> {
        let mut filters = self.0.lock();
        if filters.len() >= MAX_FILTERS {
            filters.clear();
        }
        Arc::clone(filters.entry(name).or_insert_with(|| Arc::new(filter)))
    }
}

impl App {
    /// The filter that a request names: by its JSON, by the ID of a stored one, or none.
    ///
    /// # Errors
    /// `M_INVALID_PARAM`: not a filter, or no filter of this ID.
    pub async fn filter(&self, session: &Session, named: Option<&str>) -> ApiResult<Arc<Filter>> {
        let named = named.unwrap_or_default();
        let inline = named.starts_with('{');
        let name =
            if inline || named.is_empty() { named.to_owned() } else { format!("{} {named}", session.user) };
        if let Some(filter) = self.filters.find(&name) {
            return Ok(filter);
        }
        let stored;
        let json = if named.is_empty() {
            "{}"
        } else if inline {
            if json_depth(named.as_bytes()) > Filter::MAX_DEPTH {
                let deepest = Filter::MAX_DEPTH;
                return Err(ApiError::invalid_param(format!("filter: at most {deepest} objects deep")));
            }
            named
        } else {
            let no_filter = || ApiError::invalid_param("there is no filter of this ID");
            let id = named.parse().map_err(|_| no_filter())?;
            stored = self.store.filter(&session.user, id).await?.ok_or_else(no_filter)?;
            &stored
        };
        let filter = Filter::parse(json).map_err(|e| ApiError::invalid_param(format!("filter: {e}")))?;
        Ok(self.filters.keep(name, filter))
    }
}
