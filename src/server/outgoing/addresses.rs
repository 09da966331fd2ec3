//! Which network addresses may be dialled: none that is private to this machine or its network,
//! unless the operator named it. A name or URL comes from strangers; it must not reach what they cannot.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use ipnet::IpNet;

/// The operator's exceptions from "public addresses only".
#[derive(Clone, Debug, Default)]
pub struct Allowed(pub Vec<IpNet>);

impl Allowed {
    /// Whether a peer at `address` may be dialled.
    pub fn may_dial(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.0.iter().any(|network| network.contains(&address))
    }

    /// Those of the addresses that a name was `found` to have that may be dialled: whoever dials none but these cannot be led
    /// elsewhere by a name that changes.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] when there are addresses and none may be dialled.
    pub fn among(&self, found: &[SocketAddr]) -> io::Result<Vec<SocketAddr>> {
        let allowed: Vec<_> = found.iter().copied().filter(|address| self.may_dial(address.ip())).collect();
        match found.first() {
            Some(address) if allowed.is_empty() => {
                let ip = address.ip();
                Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{ip} may not be dialled")))
            }
            Some(_) | None => Ok(allowed),
        }
    }
}

/// Whether `address` is reachable for everybody: the "globally reachable" column of IANA's
/// special-purpose address registries. Addresses that carry an IPv4 address inside are judged by it.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match embedded_v4(v6) {
            Some(v4) => is_public_v4(v4),
            None => is_public_v6(v6),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || (a == 100 && (64..128).contains(&b)) // shared address space, RFC 6598
        || (a == 192 && b == 0 && c == 0) // protocol assignments
        || (a == 192 && b == 88 && c == 99) // 6to4 relays
        || (a == 198 && (b == 18 || b == 19)) // benchmarks
        || a >= 240; // reserved, and broadcast
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Only 2000::/3 is handed out at all; the rest is local, multicast or reserved.
    let handed_out = segments[0] & 0xe000 == 0x2000;
    let documentation = (segments[0] == 0x2001 && segments[1] == 0x0db8) || segments[0] == 0x3fff;
    let protocol_assignments = segments[0] == 0x2001 && segments[1] < 0x0200;
    handed_out && !documentation && !protocol_assignments
}

/// The IPv4 address inside a translated one (`64:ff9b::/96`, RFC 6052) or a 6to4 one (`2002::/16`).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_dialled() {
        for (address, public) in [
            ("1.1.1.1", true),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("100.63.255.255", true),
            ("100.64.0.1", false),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.0.0.8", false),
            ("192.0.2.1", false),
            ("192.168.1.1", false),
            ("198.19.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:4700::1111", true),
            ("::", false),
            ("::1", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
            ("2001:db8::1", false),
            ("2001::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:1.1.1.1", true),
            ("64:ff9b::127.0.0.1", false),
            ("64:ff9b::1.1.1.1", true),
            ("2002:0a00:0001::1", false),
        ] {
            assert_eq!(Allowed::default().may_dial(address.parse().unwrap()), public, "{address}");
        }
    }

    #[test]
    fn the_operator_can_allow_a_network() {
        let allowed = Allowed(vec!["127.0.0.0/8".parse().unwrap()]);
        assert!(allowed.may_dial("127.0.0.1".parse().unwrap()));
        assert!(allowed.may_dial("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!allowed.may_dial("10.0.0.1".parse().unwrap()));
    }
}
