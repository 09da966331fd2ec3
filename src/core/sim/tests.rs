use std::time::Duration;

use super::script::{Act, DEVICES, Step, script};
use super::world::World;
use crate::core::presence::Choice;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn seeds() -> u64 {
    crate::core::testing::seeds(if cfg!(target_arch = "wasm32") { 100 } else { 2_000 })
}

#[test]
fn p_l6_everybody_sees_what_they_ought_to_whatever_happens() {
    let mut changes = 0;
    for seed in 0..seeds() {
        let world = World::run(seed, &script(seed, 120));
        changes += world.trace.iter().map(|trace| trace.matches(" to ").count()).sum::<usize>();
    }
    assert!(changes > 10 * seeds() as usize, "the scripts are too quiet to show anything: {changes}");
}

/// One user hides somewhere in the middle and goes on with their life; in a twin of that world they
/// sign off instead and do nothing more. What anybody can see of them is the same, byte for byte.
#[test]
fn p4_a_hidden_users_trace_is_that_of_an_offline_user() {
    let mut lines = 0;
    for seed in 0..seeds() / 2 {
        let steps = script(seed, 120);
        let (before, after) = steps.split_at(60);
        let mut hidden = World::run(seed, before);
        let mut offline = World::run(seed, before);
        hidden.step(&Step::Act(0, 0, Act::Choose(Choice::Hidden, None)));
        offline.step(&Step::Act(0, 0, Act::Choose(Choice::Offline, None)));
        for device in 0..DEVICES {
            offline.step(&Step::Act(0, device, Act::LogOut));
            hidden.step(&Step::Pass(Duration::ZERO));
        }
        for step in after {
            match step {
                Step::Act(0, device, act) => {
                    let act = match act {
                        Act::Choose(_, status) => Act::Choose(Choice::Hidden, status.clone()),
                        // A device that knows only Matrix's words says what it likes: the user stays hidden.
                        act => act.clone(),
                    };
                    hidden.step(&Step::Act(0, *device, act));
                    offline.step(&Step::Pass(Duration::ZERO));
                }
                step => {
                    hidden.step(step);
                    offline.step(step);
                }
            }
        }
        assert_eq!(hidden.trace[0], offline.trace[0], "seed {seed}");
        lines += hidden.trace[0].lines().count();
    }
    assert!(lines > 100 * seeds() as usize / 2, "nobody looked: {lines}");
}
