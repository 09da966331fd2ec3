//! One user's state from their choice and the reports of their devices (P5): pure, in any order.
//!
//! Two joins, each the greater of two in a total order, and so commutative, associative and idempotent:
//! of two reports of one device the later revision holds ([`Report::merge`]), and of a user's devices
//! the one with the most attention speaks ([`Attention::merge`]). [`state`] then is a table.

use super::device_type::DeviceType;
use super::state::{Choice, State};
use crate::core::time::Instant;

/// The place of a report among those of its device: late and repeated ones are not the greatest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision {
    /// The number that the device gave its report.
    pub seq: u64,
    /// Counts the reports without a number that arrived since the one that had `seq`.
    pub arrival: u32,
}

impl Revision {
    /// The revision of a report that arrives when this one holds: by its own number if it has one,
    /// else after everything before it.
    pub const fn next(self, seq: Option<u64>) -> Self {
        match seq {
            Some(seq) => Self { seq, arrival: 0 },
            None => Self { seq: self.seq, arrival: self.arrival.saturating_add(1) },
        }
    }
}

/// Whether somebody is at the device, with the instant that tells devices of the same kind apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Idleness {
    /// Nobody has been since this instant.
    Idle {
        /// When idleness began.
        since: Instant,
    },
    /// Somebody is, as known at this instant.
    Active {
        /// When the device connected or said so.
        at: Instant,
    },
}

/// What a device says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Report {
    /// The report's place among those of its device.
    pub revision: Revision,
    /// Whether somebody is at it.
    pub idleness: Idleness,
}

impl Report {
    /// Of two reports of one device, the one that holds.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        self.max(other)
    }
}

/// What is known of a user from one connected device, or from several.
///
/// Ordered by attention: absent, idle (the longest first), active (the most recent last).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attention {
    /// No device is connected.
    #[default]
    Absent,
    /// Devices are connected; this is the one that was active last.
    Present {
        /// Whether somebody is at it; if idle, then every device is.
        idleness: Idleness,
        /// What kind of device it is, if it has said so.
        device_type: Option<DeviceType>,
    },
}

impl Attention {
    /// The greater attention of the two.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        self.max(other)
    }

    /// Since when every connected device has been idle.
    pub const fn idle_since(self) -> Option<Instant> {
        match self {
            Self::Present { idleness: Idleness::Idle { since }, .. } => Some(since),
            Self::Present { idleness: Idleness::Active { .. }, .. } | Self::Absent => None,
        }
    }

    /// The kind of the device that was active last.
    pub const fn device_type(self) -> Option<DeviceType> {
        match self {
            Self::Present { device_type, .. } => device_type,
            Self::Absent => None,
        }
    }
}

/// The state as the user's own devices see it; everybody else sees its [`State::outward`].
pub const fn state(choice: Choice, attention: Attention) -> State {
    match attention {
        Attention::Absent => State::Offline,
        Attention::Present { idleness: Idleness::Active { .. }, .. } => choice.state(),
        Attention::Present { idleness: Idleness::Idle { .. }, .. } => match choice {
            Choice::Online | Choice::FreeForChat | Choice::Unavailable => State::Unavailable,
            Choice::Busy | Choice::Hidden | Choice::Offline => choice.state(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    const fn active(millis: u64) -> Attention {
        Attention::Present { idleness: Idleness::Active { at: at(millis) }, device_type: None }
    }

    const fn idle(millis: u64) -> Attention {
        Attention::Present { idleness: Idleness::Idle { since: at(millis) }, device_type: None }
    }

    fn merged(devices: &[Attention]) -> Attention {
        devices.iter().copied().fold(Attention::Absent, Attention::merge)
    }

    #[test]
    fn p5_the_table_of_choice_and_attention() {
        use State::{Busy, FreeForChat, Hidden, Offline, Online, Unavailable};
        for (choice, absent, all_idle, one_active) in [
            (Choice::Offline, Offline, Offline, Offline),
            (Choice::Hidden, Offline, Hidden, Hidden),
            (Choice::Unavailable, Offline, Unavailable, Unavailable),
            (Choice::Busy, Offline, Busy, Busy),
            (Choice::Online, Offline, Unavailable, Online),
            (Choice::FreeForChat, Offline, Unavailable, FreeForChat),
        ] {
            assert_eq!(state(choice, merged(&[])), absent, "{choice}, no device");
            assert_eq!(state(choice, merged(&[idle(1), idle(2)])), all_idle, "{choice}, all idle");
            assert_eq!(state(choice, merged(&[idle(9), active(1)])), one_active, "{choice}, one active");
        }
    }

    #[test]
    fn p5_the_idle_time_is_that_of_the_device_active_last() {
        assert_eq!(merged(&[idle(30), idle(70), idle(50)]).idle_since(), Some(at(70)));
        assert_eq!(merged(&[idle(30), active(10)]).idle_since(), None);
        assert_eq!(merged(&[]).idle_since(), None);
    }

    #[test]
    fn p7_the_device_type_is_that_of_the_device_active_last() {
        let on = |device_type, idleness| Attention::Present { idleness, device_type: Some(device_type) };
        let phone = on(DeviceType::MOBILE, Idleness::Active { at: at(20) });
        let laptop = on(DeviceType::WEB, Idleness::Active { at: at(50) });
        let tower = on(DeviceType::DESKTOP, Idleness::Idle { since: at(90) });
        assert_eq!(merged(&[tower, phone]).device_type(), Some(DeviceType::MOBILE));
        assert_eq!(merged(&[tower, phone, laptop]).device_type(), Some(DeviceType::WEB));
        assert_eq!(merged(&[]).device_type(), None);
    }

    #[test]
    fn p6_reports_without_a_number_hold_in_the_order_of_their_arrival() {
        let first = Revision::default().next(None);
        let second = first.next(None);
        assert!(second > first);
        assert_eq!(second.next(Some(7)), Revision { seq: 7, arrival: 0 });
        assert!(second.next(Some(7)).next(None) > second.next(Some(7)));
    }

    fn idleness() -> impl Strategy<Value = Idleness> {
        (any::<bool>(), 0u64..5).prop_map(|(idle, millis)| match idle {
            true => Idleness::Idle { since: at(millis) },
            false => Idleness::Active { at: at(millis) },
        })
    }

    fn device_type() -> impl Strategy<Value = Option<DeviceType>> {
        prop::sample::select(vec![None, Some(DeviceType::WEB), Some(DeviceType::MOBILE)])
    }

    fn attention() -> impl Strategy<Value = Attention> {
        prop_oneof![
            1 => Just(Attention::Absent),
            4 => (idleness(), device_type())
                .prop_map(|(idleness, device_type)| Attention::Present { idleness, device_type }),
        ]
    }

    fn report() -> impl Strategy<Value = Report> {
        (0u64..4, 0u32..3, idleness())
            .prop_map(|(seq, arrival, idleness)| Report { revision: Revision { seq, arrival }, idleness })
    }

    proptest! {
        #![proptest_config(testing::config())]

        #[test]
        fn p5_devices_merge_in_any_order_and_grouping(a in attention(), b in attention(), c in attention()) {
            prop_assert_eq!(a.merge(b), b.merge(a));
            prop_assert_eq!(a.merge(b).merge(c), a.merge(b.merge(c)));
            prop_assert_eq!(a.merge(a), a);
            prop_assert_eq!(a.merge(Attention::Absent), a);
        }

        #[test]
        fn p5_late_and_repeated_reports_change_nothing(
            reports in prop::collection::vec(report(), 1..8),
            shuffled in prop::collection::vec(any::<prop::sample::Index>(), 0..24),
        ) {
            let held = reports.iter().copied().reduce(Report::merge).expect("at least one");
            let late = shuffled.iter().fold(held, |held, pick| held.merge(*pick.get(&reports)));
            prop_assert_eq!(late, held);
            let backwards = reports.iter().rev().copied().reduce(Report::merge);
            prop_assert_eq!(backwards, Some(held));
        }

        #[test]
        fn p5_one_more_device_never_makes_a_user_less_available(
            devices in prop::collection::vec(attention(), 0..5),
            more in attention(),
            choice in prop::sample::select(Choice::ALL.to_vec()),
        ) {
            let before = state(choice, merged(&devices));
            let after = state(choice, merged(&devices).merge(more));
            prop_assert!(!before.is_more_available_than(after));
        }
    }
}
