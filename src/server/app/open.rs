//! Opens the services and puts them together.

use std::sync::Arc;

use ruma::{ServerName, UserId};
use tokio::runtime::Handle;

use super::{
    across::{entering::Entering, heard::Heard, unfilled::Unfilled},
    early_receipts::EarlyReceipts,
    error::ServeError,
    parts::{App, ClientBodies},
    subscribe::Subscribers,
};
use crate::server::{
    accounts::{data::OwnData, guests::Guests, login::Accounts, password::Passwords},
    answers::Answers,
    app_service::{AppServices, Ways},
    change::{feed::Feed, position::Live, wakers::Wakers},
    clock::Clock,
    config::Config,
    contacts::lists::Contacts,
    devices::{asking::Asking, keys::Keys, to_device::Inboxes},
    federation::Federation,
    http::Connections,
    keys::Signer,
    limits::RateLimits,
    media::Media,
    outgoing::tls::Trust,
    presence::{Board, Presence},
    push::Push,
    registration::Registrations,
    rooms::{MayBegin, Rooms, receipts::Receipts, typing::Typing},
    sight::Sight,
    store::{Access, CreateUserError, NewUser, OpenError, Store, StoreError},
    stream::{self, Filters, Unread, held::Hub},
};

impl App {
    /// Opens the store and puts the parts together, on the time of `clock`.
    ///
    /// # Errors
    /// [`ServeError::Store`] when the database is in use, damaged, newer than this binary, or not accessible;
    /// [`ServeError::Keys`] when the signing key cannot be used, or is gone; [`ServeError::Tls`] when a certificate file cannot be used.
    pub async fn open(config: Config, clock: Clock) -> Result<Arc<Self>, ServeError> {
        let registrations = Registrations::read(&config.application_services, &config.server_name)?;
        let live = Arc::new(Live::new(clock.unix_ms() * 1000));
        let feed = Arc::new(Feed::new(Arc::clone(&live)));
        let store = Store::open(&config.data_dir, &config.server_name, Access::Sole, Arc::clone(&feed))?;
        let store = Arc::new(store);
        let damaged = |e: StoreError| OpenError::Damaged(config.data_dir.clone(), e.to_string());
        let signer = Arc::new(signer(&config, &store).await?);
        // Taken also by who speaks with no other server: from here on, this data has signed with a key.
        let epoch = store.next_epoch(clock.unix()).await.map_err(damaged)?;
        let metrics = Arc::default();
        let trust = Arc::new(Trust::new(&config.federation.trusted_ca)?);
        let federation = match config.federation.listen {
            Some(_) => Some(Arc::new(Federation::new(
                &config,
                epoch,
                (Arc::clone(&signer), &trust),
                Arc::clone(&store),
                clock.clone(),
                Arc::clone(&feed),
                Arc::clone(&metrics),
            )?)),
            None => None,
        };
        let limits = Arc::new(RateLimits::new(config.rate_limits));
        let board = Arc::new(Board::new(Arc::clone(&live)));
        let presence = Presence::load(
            Arc::clone(&store),
            clock.clone(),
            Arc::clone(&live),
            Arc::clone(&feed),
            Arc::clone(&limits),
            Arc::clone(&board),
            &config.presence,
        );
        let presence = Arc::new(presence.await.map_err(damaged)?);
        let own_data = Arc::new(OwnData::load(Arc::clone(&store)).await.map_err(damaged)?);
        let ours = config.server_name.clone();
        let media = Media::load(Arc::clone(&store), clock.clone(), &config).await.map_err(damaged)?;
        let contacts = Contacts::load(Arc::clone(&store), clock.clone(), ours.clone()).await;
        let contacts = Arc::new(contacts.map_err(damaged)?);
        let may_begin = {
            let (presence, contacts) = (Arc::clone(&presence), Arc::clone(&contacts));
            move |inviter: &UserId, target: &UserId| {
                contacts.may_invite(inviter, target, presence.choice(target))
            }
        };
        let is_contact = {
            let contacts = Arc::clone(&contacts);
            move |inviter: &UserId, target: &UserId| contacts.has_on_list(target, inviter)
        };
        let rooms = Rooms::load(
            Arc::clone(&store),
            clock.clone(),
            signer,
            &config.server_name,
            config.rooms.default_version.clone(),
            config.presence.room_limit(),
            MayBegin::new(may_begin, is_contact),
        );
        let rooms = rooms.await.map_err(damaged)?;
        if let Some(federation) = &federation {
            let members = Arc::clone(&rooms.members);
            let rooms_with = move |server: &ServerName| members.rooms_with(server);
            federation
                .outbox
                .resume(|room| rooms.members.servers_in(room), rooms_with)
                .await
                .map_err(damaged)?;
        }
        let sight = Sight::new(Arc::clone(&contacts), Arc::clone(&rooms.members), ours, Arc::clone(&live));
        let rooms = Arc::new(rooms);
        let wakers = Arc::new(Wakers::of(Handle::current()));
        let hub = Arc::new(Hub::new(Arc::clone(&wakers), Arc::clone(live.bell())));
        let typing = Typing::load(clock.clone(), Arc::clone(&live), Arc::clone(&feed), Arc::clone(&store));
        let stream = Arc::new(stream::Parts {
            sight: Arc::new(sight),
            contacts: Arc::clone(&contacts),
            clock: clock.clone(),
            live: Arc::clone(&live),
            wakers,
            accounts: Arc::new(Accounts::new(
                Arc::clone(&store),
                clock.clone(),
                Passwords::new(config.min_password_length),
                config.access_token_lifetime,
            )),
            keys: Arc::new(Keys::load(Arc::clone(&store)).await.map_err(damaged)?),
            inboxes: Arc::new(Inboxes::load(Arc::clone(&store)).await.map_err(damaged)?),
            rooms: Arc::clone(&rooms),
            members: Arc::clone(&rooms.members),
            presence: Arc::clone(&presence),
            board: Arc::clone(&board),
            federation: federation.clone(),
            typing: Arc::new(typing.await.map_err(damaged)?),
            receipts: Arc::new(Receipts::load(&store).await.map_err(damaged)?),
            unread: Arc::new(Unread::new(
                Arc::clone(&store),
                Arc::clone(&own_data),
                Arc::clone(&rooms.members),
            )),
            lazy_members: Arc::default(),
            in_flight: Arc::default(),
            sliding: Arc::default(),
            filters: Arc::new(Filters::new(Arc::clone(&store))),
            answers: Arc::new(Answers::new(config.data_dir.clone())),
            metrics: Arc::clone(&metrics),
            store: Arc::clone(&store),
            own_data,
        });
        let guests = Guests::load(&store).await.map_err(damaged)?;
        let push = Push::load(Arc::clone(&stream), &config.push, Arc::clone(&trust));
        let push = Arc::new(push.await.map_err(damaged)?);
        for one in registrations.iter() {
            make_sender(&store, &one.sender, clock.unix_ms()).await.map_err(damaged)?;
        }
        let ways = Ways::new(&trust, Connections::allowed().services);
        let app_services = AppServices::load(&registrations, &ways, &stream).await.map_err(damaged)?;
        let app = Arc::new(Self {
            registrations: Arc::new(registrations),
            app_services: Arc::new(app_services),
            push,
            guests: Arc::new(guests),
            bodies: ClientBodies::default(),
            accounts: Arc::clone(&stream.accounts),
            answers: Arc::clone(&stream.answers),
            limits,
            own_data: Arc::clone(&stream.own_data),
            keys: Arc::clone(&stream.keys),
            asking: Asking::default(),
            media: Arc::new(media),
            rooms,
            federation,
            contacts,
            entering: Entering::default(),
            heard: Heard::default(),
            unfilled: Unfilled::default(),
            early_receipts: EarlyReceipts::default(),
            sight: Arc::clone(&stream.sight),
            board,
            presence,
            typing: Arc::clone(&stream.typing),
            receipts: Arc::clone(&stream.receipts),
            inboxes: Arc::clone(&stream.inboxes),
            live,
            metrics,
            wakers: Arc::clone(&stream.wakers),
            hub,
            stream,
            runtime: Handle::current(),
            started: clock.now(),
            config,
            clock,
            feed,
            store,
        });
        app.feed.subscribe(Some(Arc::new(Subscribers(Arc::downgrade(&app)))));
        app.load_across();
        app.hub.start(&app.stream).map_err(ServeError::Thread)?;
        Ok(app)
    }
}

/// The user that an application service acts as when it names none is there from the beginning.
async fn make_sender(store: &Store, sender: &UserId, now_ms: u64) -> Result<(), StoreError> {
    let new = NewUser { id: sender.to_owned(), password_hash: None, created_ms: now_ms, device: None };
    match store.create_user(new).await {
        Ok(()) | Err(CreateUserError::InUse) => Ok(()),
        Err(CreateUserError::Store(e)) => Err(e),
    }
}

/// The key to sign with: made for data that no server has run on yet, and never in place of one that is gone.
async fn signer(config: &Config, store: &Store) -> Result<Signer, ServeError> {
    if let Some(signer) = Signer::existing(&config.data_dir, &config.server_name)? {
        return Ok(signer);
    }
    let served = store.was_served().await;
    if served.map_err(|e| OpenError::Damaged(config.data_dir.clone(), e.to_string()))? {
        return Err(Signer::lost(&config.data_dir).into());
    }
    Ok(Signer::open(&config.data_dir, &config.server_name)?)
}
