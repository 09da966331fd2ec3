//! What engines do with one another, over a network of tests on virtual time.

mod capability;
mod faults;
mod hostile;
mod net;
mod view;
mod workflow;
