//! The filters in use, parsed once.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use ruma::UserId;

use super::{filter::Filter, refusal::Refusal};
use crate::server::{json::json_depth, store::Store};

/// Filters that are kept at most; beyond it they are all forgotten, and parsed again when named.
const MAX_FILTERS: usize = 1024;

/// Parsed filters by what names them: their JSON, or user and ID. A stored filter never changes.
#[derive(Debug)]
pub struct Filters {
    store: Arc<Store>,
    parsed: Mutex<HashMap<String, Arc<Filter>>>,
}

impl Filters {
    /// None was named yet; those with an ID are in `store`.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store, parsed: Mutex::default() }
    }

    /// The filter that a request of `user` names: by its JSON, by the ID of a stored one, or none.
    ///
    /// # Errors
    /// [`Refusal::BadFilter`]: not a filter, or no filter of this ID; [`Refusal::Store`].
    pub async fn named(&self, user: &UserId, named: Option<&str>) -> Result<Arc<Filter>, Refusal> {
        let named = named.unwrap_or_default();
        let inline = named.starts_with('{');
        let name = if inline || named.is_empty() { named.to_owned() } else { format!("{user} {named}") };
        if let Some(filter) = self.find(&name) {
            return Ok(filter);
        }
        let stored;
        let json = if named.is_empty() {
            "{}"
        } else if inline {
            if json_depth(named.as_bytes()) > Filter::MAX_DEPTH {
                let deepest = Filter::MAX_DEPTH;
                return Err(Refusal::BadFilter(format!("filter: at most {deepest} objects deep").into()));
            }
            named
        } else {
            let no_filter = || Refusal::BadFilter("there is no filter of this ID".into());
            let id = named.parse().map_err(|_| no_filter())?;
            stored = self.store.filter(user, id).await?.ok_or_else(no_filter)?;
            &stored
        };
        let filter = Filter::parse(json).map_err(|e| Refusal::BadFilter(format!("filter: {e}").into()))?;
        Ok(self.keep(name, filter))
    }

    fn find(&self, name: &str) -> Option<Arc<Filter>> {
        self.parsed.lock().get(name).cloned()
    }

    fn keep(&self, name: String, filter: Filter) -> Arc<Filter> {
        let mut filters = self.parsed.lock();
        if filters.len() >= MAX_FILTERS {
            filters.clear();
        }
        Arc::clone(filters.entry(name).or_insert_with(|| Arc::new(filter)))
    }
}
