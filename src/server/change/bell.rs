//! Who tells all open streams at once is woken here.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::Thread,
};

/// Rung whenever something was told; wakes somebody only for what was announced as worth it.
#[derive(Debug, Default)]
pub struct Bell {
    /// Something is, or will soon be, told that the listener is to look at.
    armed: AtomicBool,
    listener: OnceLock<Thread>,
}

impl Bell {
    /// The thread that is woken from here on, and looks for itself what there is. The first one stays.
    pub fn listen(&self, thread: Thread) {
        self.listener.get_or_init(|| thread);
    }

    /// The next ring, of whomever, wakes the listener: called before something is told, or by the listener, while
    /// something was not told yet.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::Release);
    }

    /// Something was told.
    pub fn ring(&self) {
        if self.armed.load(Ordering::Acquire) && self.armed.swap(false, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// Wakes the listener, whatever there is.
    pub fn wake(&self) {
        if let Some(listener) = self.listener.get() {
            listener.unpark();
        }
    }
}
