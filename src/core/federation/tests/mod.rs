//! What engines do with one another, over a network of tests on virtual time.

mod again;
mod capability;
mod enquiry;
mod faults;
mod hostile;
mod net;
mod repair;
mod rooms;
mod view;
mod workflow;
