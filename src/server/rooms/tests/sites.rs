//! Servers of one network, each with its rooms on a store of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use ruma::{
    EventId, OwnedEventId, OwnedServerName, RoomId, RoomVersionId, ServerName, UserId, serde::Base64,
};
use serde_json::value::RawValue;

use super::Followers;
use crate::{
    core::{time::UnixMillis, visibility::RoomLimit},
    server::{
        change::feed::Feed,
        clock::Clock,
        keys::{EventKey, EventKeys, NeededKeys, Signer},
        rooms::{
            may_begin::MayBegin,
            parts::Rooms,
            receive::{
                Elsewhere,
                elsewhere::{Between, EachText, StateBefore, Texts, Unanswered},
            },
        },
        session::Session,
        store::{Access, GraphEvent, NewUser, OpenError, Side, Store},
    },
};

/// One server.
pub struct Site {
    pub name: OwnedServerName,
    pub folder: tempfolder::Folder,
    pub rooms: Arc<Rooms>,
    pub store: Arc<Store>,
    pub feed: Arc<Feed>,
    pub user: Session,
}

mod tempfolder {
    use std::{
        path::PathBuf,
        sync::atomic::{AtomicU32, Ordering},
    };

    /// A folder that is gone with this.
    pub struct Folder(pub PathBuf);

    impl Folder {
        pub fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            Self(std::env::temp_dir().join(format!("pilotlight-sites-{}-{next}", std::process::id())))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            if let Err(e) = std::fs::remove_dir_all(&self.0) {
                tracing::debug!(error = %e, "a test's folder stays");
            }
        }
    }
}

impl Site {
    pub async fn open(name: &str) -> Self {
        let name = OwnedServerName::try_from(name).expect("a name");
        let id = UserId::parse(format!("@u:{name}")).expect("an ID");
        let user = Session { user: id.clone(), device: "D".into() };
        let site = Self::begin(tempfolder::Folder::new(), name, user).await;
        let user = NewUser { id, password_hash: None, created_ms: 0, device: None };
        site.store.create_user(user).await.expect("is made");
        site
    }

    pub async fn begin(folder: tempfolder::Folder, name: OwnedServerName, user: Session) -> Self {
        let (feed, followers) = (Arc::new(Feed::default()), Arc::new(Followers::default()));
        // The one before it closes on a thread of its own.
        let store = loop {
            match Store::open(&folder.0, &name, Access::Sole, Arc::clone(&feed)) {
                Err(OpenError::InUse(_)) => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
                opened => break Arc::new(opened.expect("opens")),
            }
        };
        let signer = Arc::new(Signer::open(&folder.0, &name).expect("a key"));
        let anybody = MayBegin::new(|_, _| true, |_, _| true);
        let rooms = Rooms::load(
            Arc::clone(&store),
            Clock::system(),
            signer,
            &name,
            RoomVersionId::V11,
            RoomLimit::default(),
            anybody,
        );
        let rooms = Arc::new(rooms.await.expect("loads"));
        followers.0.set(Arc::clone(&rooms)).expect("is empty");
        feed.subscribe(Some(followers));
        Self { name, folder, rooms, store, feed, user }
    }

    /// Ends, whatever is under way, and begins anew with what is on the disk.
    pub async fn restart(self) -> Self {
        let Self { name, folder, rooms, store, feed, user } = self;
        rooms.stop_receiving();
        feed.subscribe(None);
        let still_open = Arc::downgrade(&store);
        drop((rooms, store, feed));
        while still_open.strong_count() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        Self::begin(folder, name, user).await
    }

    pub async fn ends(&self, room: &RoomId) -> Vec<OwnedEventId> {
        self.store.extremities(room).await.expect("reads").into_iter().map(|end| end.event_id).collect()
    }

    pub async fn event(&self, id: &EventId) -> Option<GraphEvent> {
        self.store.graph_events(&[id.to_owned()]).await.expect("reads").remove(id)
    }
}

/// What others reach of a server.
type Reached = (Weak<Store>, Arc<Signer>);

/// What servers reach of each other.
#[derive(Default)]
pub struct Net {
    pub sites: Mutex<BTreeMap<OwnedServerName, Reached>>,
    pub cut: Mutex<BTreeSet<(OwnedServerName, OwnedServerName)>>,
    /// Those that answer nothing.
    pub gone: Mutex<BTreeSet<OwnedServerName>>,
    /// Events that nobody tells of.
    pub withheld: Mutex<BTreeSet<OwnedEventId>>,
    pub states_asked: AtomicUsize,
}

/// The net as one of them sees it.
pub struct Seen {
    pub net: Arc<Net>,
    pub from: OwnedServerName,
}

impl Net {
    pub fn join(&self, site: &Site) {
        let known = (Arc::downgrade(&site.store), Arc::clone(&site.rooms.signer));
        self.sites.lock().insert(site.name.clone(), known);
    }

    pub fn is_cut(&self, a: &ServerName, b: &ServerName) -> bool {
        let cut = self.cut.lock();
        cut.contains(&(a.to_owned(), b.to_owned())) || cut.contains(&(b.to_owned(), a.to_owned()))
    }
}

pub fn raw(event: &GraphEvent) -> Box<RawValue> {
    RawValue::from_string(event.pdu.to_string()).expect("JSON")
}

impl Seen {
    fn store(&self, of: &ServerName) -> Result<Arc<Store>, Unanswered> {
        if self.net.is_cut(&self.from, of) || self.net.gone.lock().contains(of) {
            return Err(Unanswered("no way".into()));
        }
        let store = self.net.sites.lock().get(of).and_then(|(store, _)| store.upgrade());
        store.ok_or_else(|| Unanswered("down".into()))
    }
}

/// Events of an answer; before each there are so many others.
#[derive(Debug)]
pub struct Listed(Vec<Box<RawValue>>);

impl Texts for Listed {
    fn walk(&mut self, each: &mut EachText<'_>) -> Result<(), String> {
        self.0.iter().cloned().enumerate().try_for_each(|(n, text)| each(n as u64, text))
    }

    fn text_at(&mut self, at: u64, _: usize) -> Result<Box<RawValue>, String> {
        Ok(self.0[at as usize].clone())
    }
}

impl Elsewhere for Seen {
    type Texts = Listed;

    async fn keys(&self, needed: NeededKeys) -> EventKeys {
        let mut keys = EventKeys::default();
        for server in needed.keys() {
            let Some((_, signer)) = self.net.sites.lock().get(server).cloned() else { continue };
            let public = Base64::new(signer.public_key().as_bytes().to_vec());
            keys.put(server, signer.key_id(), EventKey { public, valid_until: UnixMillis(u64::MAX) });
        }
        keys
    }

    async fn missing_events(
        &self,
        server: &ServerName,
        room: &RoomId,
        between: Between,
    ) -> Result<Vec<Box<RawValue>>, Unanswered> {
        let Between { earliest, latest, limit, min_depth } = between;
        let store = self.store(server)?;
        let found = store.between(room, &latest, &earliest, min_depth, limit).await.expect("reads");
        let withheld = self.net.withheld.lock();
        Ok(found.iter().filter(|event| !withheld.contains(&event.event_id)).map(raw).collect())
    }

    async fn state_ids(
        &self,
        server: &ServerName,
        _: &RoomId,
        before: &EventId,
    ) -> Result<StateBefore, Unanswered> {
        self.net.states_asked.fetch_add(1, Ordering::Relaxed);
        let store = self.store(server)?;
        let state = store.state_ids(before, Side::Before).await.expect("reads");
        let state = state.ok_or_else(|| Unanswered("not known".into()))?;
        let state: Vec<OwnedEventId> = state.into_values().collect();
        let auth_chain = store.auth_chain(&state, 10_000).await.expect("reads").into_iter().collect();
        Ok(StateBefore { state, auth_chain, held: None })
    }

    async fn state(&self, _: &ServerName, _: &RoomId, _: &EventId) -> Result<Listed, Unanswered> {
        Err(Unanswered("not asked for".into()))
    }

    async fn event(&self, server: &ServerName, event: &EventId) -> Result<Box<RawValue>, Unanswered> {
        let mut found = self.store(server)?.graph_events(&[event.to_owned()]).await.expect("reads");
        found.retain(|id, _| !self.net.withheld.lock().contains(id));
        found.get(event).map(raw).ok_or_else(|| Unanswered("not known".into()))
    }

    async fn event_auth(
        &self,
        server: &ServerName,
        _: &RoomId,
        event: &EventId,
    ) -> Result<Listed, Unanswered> {
        let store = self.store(server)?;
        let chain = store.auth_chain(&[event.to_owned()], 10_000).await.expect("reads");
        let chain: Vec<OwnedEventId> = chain.into_iter().collect();
        let chain: Vec<_> = store.graph_events(&chain).await.expect("reads").values().map(raw).collect();
        Ok(Listed(chain))
    }
}
