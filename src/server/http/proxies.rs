//! Where a request came from, if others handed it on.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

use crate::server::limits::Origin;

/// The proxies that are believed when they say for whom a request is.
#[derive(Clone, Debug)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Those with addresses in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether this address is a proxy's.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Where a request came from that `peer` handed in, with these headers.
    pub fn origin(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Origin {
        let peer = peer.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        Origin::new(self.forwarded(peer, headers).unwrap_or(peer))
    }

    /// For whom the proxy `peer` says that it hands a request in. `None`: it is no proxy, or does not say.
    pub fn forwarded(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        // Each proxy adds the address that it was asked from at the end: what stands before the last that is not a
        // proxy's anybody could have written.
        let mut said = None;
        let values = headers.get_all("x-forwarded-for").iter().rev();
        let mut entries = values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
        while self.contain(said.unwrap_or(peer)) {
            match entries.next().and_then(address) {
                Some(address) => said = Some(address),
                None => break,
            }
        }
        said
    }
}

/// An entry, with or without a port.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    entry.parse().ok().or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_proxies_are_believed_and_only_what_they_wrote_themselves() {
        let table: &[(&str, &[&str], &str)] = &[
            ("192.0.2.1", &[], "192.0.2.1"),
            ("192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("127.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("127.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("127.0.0.1", &["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
            ("127.0.0.1", &["203.0.113.9, 198.51.100.7, 10.1.2.3"], "198.51.100.7"),
            ("10.1.2.3", &["203.0.113.9, 198.51.100.7", "127.0.0.1"], "198.51.100.7"),
            ("127.0.0.1", &["198.51.100.7, nonsense"], "127.0.0.1"),
            ("127.0.0.1", &["nonsense, 10.1.2.3"], "10.1.2.3"),
            ("127.0.0.1", &["127.0.0.1"], "127.0.0.1"),
            ("::1", &["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::"),
            ("::1", &["[2001:db8:1:2:3:4:5:6]:80"], "2001:db8:1:2::"),
            ("2001:db8:1:2:3:4:5:6", &[], "2001:db8:1:2::"),
            ("::ffff:192.0.2.1", &[], "192.0.2.1"),
            ("::ffff:127.0.0.1", &["198.51.100.7"], "198.51.100.7"),
        ];
        let networks = ["127.0.0.0/8", "::1/128", "10.0.0.0/8"];
        let proxies = Proxies::new(networks.map(|network| network.parse().expect("a network")).to_vec());
        for (peer, forwarded, expected) in table {
            let mut headers = HeaderMap::new();
            for value in *forwarded {
                headers.append("x-forwarded-for", value.parse().expect("a header"));
            }
            let origin = proxies.origin(peer.parse().ok(), &headers);
            let expected = Origin::new(expected.parse().expect("an address"));
            assert_eq!(origin, expected, "{peer} {forwarded:?}");
        }
    }
}
