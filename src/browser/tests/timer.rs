//! The shell's one timer on the browser's, and the clock that it is set by.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use wasm_bindgen_test::wasm_bindgen_test as test;

use super::super::clock::Clock;
use super::super::timer::Timer;
use super::{js, pass};

fn timer() -> (Timer, Rc<Cell<u32>>) {
    let fired = Rc::new(Cell::new(0));
    let count = Rc::clone(&fired);
    (Timer::new(move || count.set(count.get() + 1)), fired)
}

#[test]
async fn it_wakes_at_its_deadline_and_not_before() {
    let (clock, (timer, fired)) = (Clock::new(), timer());
    let now = clock.now();
    timer.arm(Some(now + Duration::from_millis(150)), now);
    pass(50).await;
    assert_eq!(fired.get(), 0);
    pass(250).await;
    assert_eq!(fired.get(), 1);
}

#[test]
async fn only_the_last_deadline_counts_and_none_wakes_nobody() {
    let (clock, (timer, fired)) = (Clock::new(), timer());
    let now = clock.now();
    timer.arm(Some(now + Duration::from_millis(20)), now);
    timer.arm(Some(now + Duration::from_millis(60)), now);
    pass(200).await;
    assert_eq!(fired.get(), 1);
    timer.fired();
    timer.arm(Some(clock.now() + Duration::from_millis(20)), clock.now());
    timer.arm(None, clock.now());
    pass(100).await;
    assert_eq!(fired.get(), 1);
}

#[test]
async fn a_deadline_that_has_passed_wakes_soon_and_one_in_a_year_does_not() {
    let (clock, (timer, fired)) = (Clock::new(), timer());
    let now = clock.now();
    timer.arm(Some(now + Duration::from_secs(365 * 86_400)), now);
    pass(50).await;
    assert_eq!(fired.get(), 0, "browsers take a delay that overflows for none");
    timer.arm(Some(now - Duration::from_secs(5)), now);
    pass(50).await;
    assert_eq!(fired.get(), 1);
}

#[test]
async fn a_timer_that_is_gone_wakes_nobody() {
    let (clock, (timer, fired)) = (Clock::new(), timer());
    timer.arm(Some(clock.now() + Duration::from_millis(20)), clock.now());
    drop(timer);
    pass(80).await;
    assert_eq!(fired.get(), 0);
}

#[test]
fn the_clock_counts_sleep_and_never_runs_backwards() {
    let clock = Clock::new();
    let before = clock.now();
    // The machine sleeps an hour, in which `performance.now` stands still; then somebody sets the clock back.
    js("const real = Date.now; globalThis.realNow = real; Date.now = () => real() + 3_600_000");
    let slept = clock.now();
    js("Date.now = () => globalThis.realNow() - 86_400_000");
    let set_back = clock.now();
    js("Date.now = globalThis.realNow");
    assert!(slept.since(before) >= Duration::from_secs(3_600), "{:?}", slept.since(before));
    assert!(set_back >= slept);
    assert!(set_back.since(slept) < Duration::from_secs(60), "{:?}", set_back.since(slept));
}
