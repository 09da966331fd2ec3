//! The presence engine alone: bytes a user, and time an input, with a million users and for a day.
//!
//! `cargo run --release --no-default-features --example engine [-- USERS]`. The engine sees its own virtual
//! clock only; a day takes as long as its inputs do.

#![expect(clippy::print_stdout, reason = "a measuring program prints what it measured")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant as Clock};

use pilotlight::core::presence::{
    Change, Choice, DeviceKey, Engine, Output, Record, SetPresence, Settings, StatusMsg, UserKey,
};
use pilotlight::core::rng::Rng;
use pilotlight::core::time::Instant;

/// Counts what is allocated; sizes are those asked for, without the allocator's own overhead.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const START: Instant = Instant::from_millis(1_700_000_000_000);
const DEVICE: DeviceKey = DeviceKey(1);

fn main() -> Result<(), Box<dyn Error>> {
    let users: u32 = std::env::args().nth(1).map_or(Ok(1_000_000), |arg| arg.parse())?;
    memory(users);
    day(1_000);
    Ok(())
}

/// Reads all outputs; answers how many changes others can see.
fn drain(engine: &mut Engine, now: Instant) -> u64 {
    let mut visible = 0;
    while let Some(output) = engine.poll_output(now) {
        visible += u64::from(matches!(output, Output::Changed { change: Change::Visible, .. }));
    }
    visible
}

fn memory(users: u32) {
    let row = |what: &str, bytes: usize, since: Clock| {
        let (per_user, time) = (bytes as f64 / f64::from(users), since.elapsed() / users);
        println!("{users} users {what:<34} {per_user:>6.1} bytes a user {time:>10.0?} an input");
    };
    let before = ALLOCATED.load(Ordering::Relaxed);
    let used = || ALLOCATED.load(Ordering::Relaxed) - before;

    let clock = Clock::now();
    let mut engine = Engine::new(Settings::default());
    let keys: Vec<UserKey> = (0..users).map(|_| engine.insert_user(Record::default(), START)).collect();
    let list = keys.capacity() * size_of::<UserKey>();
    row("offline", used() - list, clock);

    let clock = Clock::now();
    for &user in &keys {
        engine.handle_connected(user, DEVICE, SetPresence::Absent, START);
        drain(&mut engine, START);
    }
    row("online, on a stream", used() - list, clock);

    let clock = Clock::now();
    for &user in &keys {
        engine.handle_disconnected(user, DEVICE, START);
        engine.handle_connected(user, DEVICE, SetPresence::Absent, START);
        drain(&mut engine, START);
    }
    row("online, between two long polls", used() - list, clock);

    let later = START + Duration::from_secs(31);
    engine.handle_timeout(later);
    let clock = Clock::now();
    for &user in &keys {
        engine.handle_idle(user, DEVICE, None, Duration::from_secs(180), later);
        drain(&mut engine, later);
    }
    row("idle", used() - list, clock);
}

/// A working day of each user, around the clock: sessions of long polls, idle spells, messages, choices.
fn day(users: u32) {
    let mut rng = Rng::new(1);
    let mut engine = Engine::new(Settings::default());
    let keys: Vec<UserKey> = (0..users).map(|_| engine.insert_user(Record::default(), START)).collect();
    // At each of a day's 30-second steps a user is away, or polls and now and then does something.
    let mut online = vec![false; keys.len()];
    let (mut inputs, mut changes) = (0u64, 0u64);
    let clock = Clock::now();
    for step in 0..24 * 120u64 {
        let now = START + Duration::from_secs(30 * step);
        for (user, online) in keys.iter().copied().zip(&mut online) {
            if rng.chance(1, 480) {
                *online = !*online;
                if *online {
                    engine.handle_connected(user, DEVICE, SetPresence::Online, now);
                } else {
                    engine.handle_disconnected(user, DEVICE, now);
                }
                inputs += 1;
            } else if *online {
                engine.handle_disconnected(user, DEVICE, now);
                engine.handle_connected(user, DEVICE, SetPresence::Absent, now);
                inputs += 2;
            }
            if *online {
                inputs += 1;
                match rng.range(0..40) {
                    0 => engine.handle_idle(user, DEVICE, None, Duration::from_secs(180), now),
                    1 => engine.handle_active(user, DEVICE, None, now),
                    2..5 => engine.handle_pro_active(user, now),
                    5 => engine.handle_choice(user, Choice::Busy, StatusMsg::Keep, now),
                    6 => engine.handle_choice(user, Choice::Online, StatusMsg::Clear, now),
                    _ => inputs -= 1,
                }
            }
        }
        while let Some(at) = engine.poll_timeout().filter(|&at| at <= now) {
            engine.handle_timeout(at.max(now));
        }
        changes += drain(&mut engine, now);
    }
    let took = clock.elapsed();
    let each = took / u32::try_from(inputs.max(1)).unwrap_or(u32::MAX);
    println!(
        "a day of {users} users: {inputs} inputs, {changes} visible changes, {took:.0?}, {each:.0?} an input"
    );
}
