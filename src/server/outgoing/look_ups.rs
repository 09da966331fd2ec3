//! Names to addresses: so many names at a time.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tokio::sync::Semaphore;

/// Look-ups under way at a time, of one client whose URLs come from users or the operator.
pub const MAX_LOOK_UPS: usize = 32;

/// The same of what speaks with other servers. More than there are servers that never showed a key and are asked for theirs, so
/// that names of strangers that nobody answers for leave room for those of others.
pub const MAX_SERVER_LOOK_UPS: usize = 64;

/// The look-ups of one client; clones share them. The system looks a name up in a thread of its own, which nobody can stop, and
/// of which there are so many for all that the server does: names whose servers never answer do not take them all.
#[derive(Clone, Debug)]
pub struct LookUps(Arc<Semaphore>);

impl LookUps {
    /// So many at a time.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }

    /// The addresses of `host`, looked up when there is room. Who waits no longer for the answer leaves it to end: until then
    /// its thread is taken. An address has itself at once.
    ///
    /// # Errors
    /// Of the system.
    pub async fn find(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let host = host.to_owned();
        self.run(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) }).await
    }

    async fn run<T: Send + 'static>(
        &self,
        look_up: impl Future<Output = io::Result<T>> + Send + 'static,
    ) -> io::Result<T> {
        let room = Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)?;
        let looking = tokio::spawn(async move {
            let found = look_up.await;
            drop(room);
            found
        });
        looking.await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::{sync::Notify, time::timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn names_that_nobody_answers_for_are_looked_up_so_many_at_a_time_also_when_nobody_waits_any_longer()
    {
        let (look_ups, begun, answered) =
            (LookUps::new(MAX_LOOK_UPS), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let look_up = || {
            let (begun, answered) = (Arc::clone(&begun), Arc::clone(&answered));
            look_ups.run(async move {
                begun.fetch_add(1, Ordering::AcqRel);
                answered.notified().await;
                Ok(())
            })
        };
        for _ in 0..2 * MAX_LOOK_UPS {
            timeout(Duration::from_secs(1), look_up()).await.expect_err("nobody answers");
        }
        assert_eq!(begun.load(Ordering::Acquire), MAX_LOOK_UPS);
        let address = timeout(Duration::from_secs(1), look_ups.find("::1", 80)).await;
        address.expect("an address does not wait").expect("is found");
        answered.notify_waiters();
        timeout(Duration::from_secs(1), look_ups.run(async { Ok(()) }))
            .await
            .expect("there is room")
            .expect("is found");
    }
}
