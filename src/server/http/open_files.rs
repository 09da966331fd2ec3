//! How many connections the system allows: each is an open file, and the database needs some, too.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files that are kept for the database, the log and the operator, beside those for each core.
const RESERVED: u64 = 128;

/// Those for each core, which may have a connection of its own to the database.
const RESERVED_PER_CORE: u64 = 4;

/// Connections that are allowed, however few files the system does.
const LEAST: u64 = 64;

/// Connections that are allowed, however many files the system does.
const MOST: u64 = 1_000_000;

/// Connections at the operator's listener, out of those reserved.
const OPERATOR: usize = 16;

/// How many connections of each kind there may be at once. All of them together leave the files that are reserved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Connections {
    /// From clients.
    pub clients: usize,
    /// From other servers.
    pub servers: usize,
    /// To other servers.
    pub out: usize,
    /// To push gateways.
    pub gateways: usize,
    /// To application services.
    pub services: usize,
    /// Of the operator.
    pub operator: usize,
}

/// Asks the system for as many open files as it gives without further rights. Many systems begin with
/// 1024, which a server of long polls reaches soon.
pub fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(e) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(error = %e, ?current, "cannot raise the limit of open files");
    }
}

impl Connections {
    /// What the system allows.
    pub fn allowed() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::of(files, u64::try_from(cores).unwrap_or(1))
    }

    fn of(files: u64, cores: u64) -> Self {
        let reserved = RESERVED + RESERVED_PER_CORE * cores;
        let all = files.saturating_sub(reserved).clamp(LEAST, MOST);
        let share = |eighths: u64| usize::try_from(all / 8 * eighths).unwrap_or(usize::MAX);
        // Whoever is asked and does not answer keeps from the others only those of its own kind.
        let some = share(1) / 8;
        Self {
            clients: share(5),
            servers: share(2),
            out: share(1) - 2 * some,
            gateways: some,
            services: some,
            operator: OPERATOR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_every_kind_together_leave_what_is_reserved() {
        for (files, cores) in [(256, 2), (1_024, 2), (1_024, 16), (65_536, 64), (524_288, 4)] {
            let Connections { clients, servers, out, gateways, services, operator } =
                Connections::of(files, cores);
            let taken = clients + servers + out + gateways + services + operator;
            let taken = u64::try_from(taken).expect("a few");
            assert!(files - taken >= 96 + 4 * cores, "{taken} of {files}");
            assert!(clients >= 2 * servers && servers >= 2 * out && out >= 8, "of {files}");
            assert!(gateways >= 1 && services >= 1, "of {files}");
        }
        assert_eq!(Connections::of(0, 1), Connections::of(64, 1), "some, however few");
        assert!(Connections::of(u64::MAX, 1).clients <= 1_000_000);
    }
}
