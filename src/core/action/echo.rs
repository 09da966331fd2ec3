//! The local echo of one action, as one total table (M11).
//!
//! The request's answer and the stream arrive in either order, or only one of them does. Whatever
//! happens, an echo is shown once, keeps its key, and ends placed by the stream, gone by the user's
//! wish, or failed with the choice to retry.

/// Where an action's echo stands; the words that applications see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EchoState {
    /// Shown; waits for its turn, or for the next attempt.
    Queued,
    /// A request is under way; whether the server has it is unknown.
    Sending,
    /// The server has it; its place in the room is unknown.
    Sent,
    /// The stream has placed it. Final.
    Placed,
    /// The server refused it. The user retries or cancels.
    Failed,
}

impl EchoState {
    /// The word that applications see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Placed => "placed",
            Self::Failed => "failed",
        }
    }
}

/// What can happen to an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EchoInput {
    /// Its request was handed to the network.
    Transmitted,
    /// The server answered with its event ID.
    Answered,
    /// It appeared in the stream.
    Streamed,
    /// The request was lost, timed out, was limited, or the server failed: worth another attempt.
    Interrupted,
    /// The server refused it: the same request would be refused again.
    Refused,
    /// The user wants it tried again.
    Retry,
    /// The user takes it back. What the server already has still comes by the stream, as any event does.
    Cancel,
    /// The client starts again and finds it in storage.
    Reload,
    /// The stream jumped over the stretch that holds it: it lies in the history, not in the timeline.
    Overtaken,
}

/// What an input does to an echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EchoStep {
    /// It stands where it stood.
    Stay,
    /// It moves.
    To(EchoState),
    /// It is taken from view: cancelled, or safe in the history.
    Gone,
}

/// The transition table.
pub fn step(state: EchoState, input: EchoInput) -> EchoStep {
    use EchoInput as I;
    use EchoState as S;
    use EchoStep::{Gone, Stay, To};
    match (state, input) {
        (S::Placed, _) => Stay,
        (_, I::Streamed) => To(S::Placed),

        (S::Queued, I::Transmitted) => To(S::Sending),
        // An attempt that was given up can still be answered.
        (S::Queued | S::Sending | S::Failed, I::Answered) => To(S::Sent),
        (S::Queued | S::Sending, I::Refused) => To(S::Failed),
        (S::Queued, I::Interrupted | I::Retry | I::Reload | I::Overtaken) => Stay,

        // The answer was lost with the page: the same ID is sent again, and done once.
        (S::Sending, I::Interrupted | I::Reload) => To(S::Queued),
        (S::Sending, I::Transmitted | I::Retry | I::Overtaken) => Stay,

        (S::Failed, I::Retry) => To(S::Queued),
        (S::Failed, I::Transmitted | I::Interrupted | I::Refused | I::Reload | I::Overtaken) => Stay,

        (S::Queued | S::Sending | S::Failed, I::Cancel) => Gone,

        // The server has it and the first sync after a reload shows it.
        (S::Sent, I::Reload | I::Overtaken) => Gone,
        (S::Sent, I::Transmitted | I::Answered | I::Interrupted | I::Refused | I::Retry | I::Cancel) => Stay,
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::EchoInput::*;
    use super::EchoState::*;
    use super::EchoStep::*;
    use super::*;
    use crate::core::testing;
    use proptest::prelude::*;

    const INPUTS: [EchoInput; 9] =
        [Transmitted, Answered, Streamed, Interrupted, Refused, Retry, Cancel, Reload, Overtaken];

    #[test]
    fn every_row_of_the_table() {
        let rows = [
            (Queued, [To(Sending), To(Sent), To(Placed), Stay, To(Failed), Stay, Gone, Stay, Stay]),
            (Sending, [Stay, To(Sent), To(Placed), To(Queued), To(Failed), Stay, Gone, To(Queued), Stay]),
            (Sent, [Stay, Stay, To(Placed), Stay, Stay, Stay, Stay, Gone, Gone]),
            (Placed, [Stay; 9]),
            (Failed, [Stay, To(Sent), To(Placed), Stay, Stay, To(Queued), Gone, Stay, Stay]),
        ];
        for (state, expected) in rows {
            for (input, expected) in INPUTS.into_iter().zip(expected) {
                assert_eq!(step(state, input), expected, "{state:?} × {input:?}");
            }
        }
    }

    #[test]
    fn both_orders_of_answer_and_stream_end_placed() {
        for order in [[Answered, Streamed], [Streamed, Answered]] {
            let end = order.into_iter().fold(Sending, |state, input| match step(state, input) {
                To(next) => next,
                Stay => state,
                Gone => panic!("an echo that the server has is not taken away"),
            });
            assert_eq!(end, Placed, "{order:?}");
        }
    }

    proptest! {
        #![proptest_config(testing::config())]

        /// Whatever happens, in any order and however often: an echo is placed by the stream and by nothing
        /// else, and stays; it is sent by an answer only; it is gone by the user's wish while the server is
        /// not known to have it, or safe in the history once it is; and what happens twice changes nothing.
        #[test]
        fn m11_in_any_order_an_echo_is_never_lost_and_placed_once(
            inputs in prop::collection::vec(prop::sample::select(&INPUTS[..]), 0..40),
        ) {
            let mut state = Queued;
            let mut answered = false;
            for input in inputs {
                let next = match step(state, input) {
                    Gone => {
                        let by_wish = input == Cancel && state != Sent;
                        let in_history = state == Sent && matches!(input, Reload | Overtaken);
                        prop_assert!(by_wish || in_history, "{:?} × {:?}", state, input);
                        break;
                    }
                    To(next) => next,
                    Stay => state,
                };
                answered |= input == Answered && state != Placed;
                prop_assert_eq!(next == Placed, state == Placed || input == Streamed);
                prop_assert!(next != Sent || answered);
                prop_assert!(matches!(step(next, input), Stay) || step(next, input) == To(next) || input == Cancel
                    || (next == Sent && matches!(input, Reload | Overtaken)), "{:?} × {:?} twice", state, input);
                state = next;
            }
        }

        /// As long as the client tries again, an echo that nobody cancels or refuses ends placed.
        #[test]
        fn m11_lost_answers_and_requests_only_delay_it(losses in prop::collection::vec(any::<bool>(), 0..20), stream_first: bool) {
            let after = |state, input| match step(state, input) {
                To(next) => next,
                Stay => state,
                Gone => panic!("{state:?} × {input:?} takes it away"),
            };
            let mut state = Queued;
            for reloaded in losses {
                state = after(after(state, Transmitted), if reloaded { Reload } else { Interrupted });
                prop_assert_eq!(state, Queued);
            }
            let end = if stream_first { [Streamed, Answered] } else { [Answered, Streamed] };
            prop_assert_eq!(end.into_iter().fold(after(state, Transmitted), after), Placed);
        }
    }
}
