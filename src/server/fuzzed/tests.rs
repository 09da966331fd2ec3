//! Mutations of a small corpus, for about a second of computing a target: what libFuzzer does for hours, and without
//! its eyes. `TEST_TIMES` multiplies the time, `FUZZ_SEED` makes others of them.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use rustix::time::{ClockId, clock_gettime};

use super::{TARGETS, Target, mutate::Mutator, target};
use crate::core::testing::seeds;

/// What a target may take of a processor, without optimisation.
const BUDGET: Duration = Duration::from_secs(1);

/// No input of [`LARGE`] bytes may take longer: what is quadratic takes hundreds of times as long.
const LONGEST: Duration = Duration::from_secs(3);

/// The size of the large inputs, in bytes.
const LARGE: usize = 192 * 1024;

/// Executions that say something: of a parser, and of a whole server, which is a new one each time.
const LEAST: u64 = 100;
const LEAST_TALKS: u64 = 5;

/// Large inputs of a target.
const LARGE_ONES: u64 = 3;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = folder().join("corpus").join(name);
    let files = fs::read_dir(&folder).expect("a folder of its own").map(|file| file.expect("a file").path());
    let files: BTreeSet<_> = files.collect();
    files.into_iter().map(|path| fs::read(path).expect("can be read")).collect()
}

/// What this thread has computed so far: waiting for others does not count.
fn computed() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
}

/// Runs a target once. What it falls over is printed so that it can be put into the corpus.
fn run(name: &str, target: Target, input: &[u8]) {
    let begun = computed();
    let outcome = std::panic::catch_unwind(|| target(input));
    let took = computed() - begun;
    let shown =
        || input.iter().take(4_096).flat_map(|byte| byte.escape_ascii()).map(char::from).collect::<String>();
    assert!(outcome.is_ok(), "{name} falls over b\"{}\" ({} bytes)", shown(), input.len());
    assert!(took < LONGEST, "{name} takes {took:?} for {} bytes like b\"{}\"", input.len(), shown());
}

/// Holds a target to its word over its corpus, mutations of it, and some large inputs of the same kind.
#[expect(clippy::print_stdout, reason = "a figure of the long run, which shows what tests print")]
fn holds(name: &str) {
    let (target, entries) = (target(name), corpus(name));
    entries.iter().for_each(|entry| run(name, target, entry));
    let seed = std::env::var("FUZZ_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let dictionary = fs::read_to_string(folder().join("words.dict")).expect("is there");
    let mut mutator = Mutator::new(seed, entries, &dictionary);
    let end = computed() + BUDGET * u32::try_from(seeds(1).max(1)).expect("a few times");
    let mut executions = 0_u64;
    while computed() < end {
        run(name, target, &mutator.mutated());
        executions += 1;
    }
    for _ in 0..LARGE_ONES {
        run(name, target, &mutator.large(LARGE));
    }
    println!("# figures: {name}: {executions} executions");
    let least = if name.ends_with("_requests") { LEAST_TALKS } else { LEAST };
    assert!(executions >= least, "{name}: {executions} executions are too few to say anything");
}

#[test]
fn every_target_has_a_small_corpus() {
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    let corpora: BTreeSet<String> = fs::read_dir(folder().join("corpus"))
        .expect("is there")
        .map(|entry| entry.expect("a folder").file_name().into_string().expect("a name"))
        .collect();
    assert_eq!(corpora.iter().collect::<Vec<_>>(), names);
    for name in names {
        let bytes: usize = corpus(name).iter().map(Vec::len).sum();
        assert!((1..=64 * 1024).contains(&bytes), "{name}: {bytes} bytes");
    }
}

#[test]
fn a_reminder_in_the_brief_form_comes_back_or_is_refused() {
    holds("brief_reminder");
}

#[test]
fn a_client_shows_what_can_be_shown_whatever_its_server_answers() {
    holds("client_answers");
}

#[test]
fn a_configuration_file_comes_back_or_is_refused() {
    holds("config_file");
}

#[test]
fn a_value_by_flag_is_the_same_by_environment() {
    holds("config_value");
}

#[test]
fn what_another_server_says_of_devices_is_bounded_and_about_its_own_users() {
    holds("device_talk");
}

#[test]
fn an_event_is_shown_with_the_content_that_was_sent() {
    holds("event");
}

#[test]
fn a_filter_decides_about_anything() {
    holds("filter");
}

#[test]
fn what_a_server_refuses_to_a_client_changes_nothing() {
    holds("client_requests");
}

#[test]
fn what_a_server_refuses_to_another_changes_nothing() {
    holds("server_requests");
}

#[test]
fn the_answer_to_a_join_is_read_as_it_is_in_one_piece() {
    holds("join_answer");
}

#[test]
fn json_is_read_as_serde_reads_it() {
    holds("json_reader");
}

#[test]
fn json_is_written_as_serde_reads_it() {
    holds("json_writer");
}

#[test]
fn a_changed_key_document_proves_nothing() {
    holds("key_document");
}

#[test]
fn a_line_of_a_key_file_comes_back_or_is_refused() {
    holds("key_file");
}

#[test]
fn an_edu_about_lists_speaks_for_users_of_its_server() {
    holds("list_edu");
}

#[test]
fn a_presence_message_comes_back_in_both_forms_or_is_refused() {
    holds("presence_edu");
}

#[test]
fn a_talk_with_a_hostile_server_ends_in_the_unknown() {
    holds("presence_talk");
}

#[test]
fn a_request_is_of_whom_its_head_says() {
    holds("request_head");
}

#[test]
fn a_server_name_leads_to_the_server() {
    holds("server_name");
}

#[test]
fn a_token_has_one_form() {
    holds("token");
}

#[test]
fn words_come_back_or_are_refused() {
    holds("words");
}

#[test]
fn a_file_of_another_server_is_what_stands_between_the_lines() {
    holds("multipart");
}

#[test]
fn a_range_is_a_part_of_the_file() {
    holds("range");
}

#[test]
fn a_registration_file_is_understood_or_refused() {
    holds("registration_file");
}

#[test]
fn an_edu_about_a_room_speaks_for_users_of_its_server() {
    holds("room_edu");
}

#[test]
fn a_request_of_sliding_sync_is_understood_or_refused() {
    holds("sliding_request");
}

#[test]
fn no_target_is_left_out() {
    let tests = include_str!("tests.rs");
    let left_out = TARGETS.iter().find(|(name, _)| !tests.contains(&format!("holds(\"{name}\")")));
    assert_eq!(left_out.map(|(name, _)| *name), None);
}
