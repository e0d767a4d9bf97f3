//! Requests that were answered, so that a repeated request id gets the first reply.
//!
//! An id counts for a stated window, by record times; what is older is let go in the order in which it came.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::limits::REQUEST_WINDOW_MICROS;
use crate::model::{Micros, Revision};

/// A write that can be repeated: digest of what was asked, and the record that answered.
pub(crate) struct Answered {
    pub digest: String,
    pub revision: Revision,
    pub time: Micros,
}

#[derive(Default)]
pub(crate) struct Requests {
    answered: HashMap<Arc<str>, Answered>,
    /// Oldest first. An id stands here once more for each time it was used again after its window.
    order: VecDeque<(Micros, Arc<str>)>,
}

impl Requests {
    /// What was answered to that id, if that still counts at `now`.
    pub fn get(&self, id: &str, now: Micros) -> Option<&Answered> {
        self.answered.get(id).filter(|answered| counts(answered.time, now))
    }

    /// Adds an answer that is newer than all others.
    pub fn remember(&mut self, id: &str, answered: Answered) {
        while let Some((time, oldest)) = self.order.front()
            && !counts(*time, answered.time)
        {
            if self.answered.get(oldest).is_some_and(|kept| kept.time == *time) {
                self.answered.remove(oldest);
            }
            self.order.pop_front();
        }
        let id: Arc<str> = id.into();
        self.order.push_back((answered.time, Arc::clone(&id)));
        self.answered.insert(id, answered);
    }
}

fn counts(time: Micros, now: Micros) -> bool {
    now - time < REQUEST_WINDOW_MICROS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(revision: Revision, time: Micros) -> Answered {
        Answered { digest: String::new(), revision, time }
    }

    #[test]
    fn what_is_older_than_the_window_is_let_go_and_no_more() {
        let mut requests = Requests::default();
        requests.remember("a", answered(1, 0));
        requests.remember("b", answered(2, 10));
        // "a" is used again after its window: its first use must not take the second along.
        requests.remember("a", answered(3, REQUEST_WINDOW_MICROS));
        requests.remember("c", answered(4, REQUEST_WINDOW_MICROS + 9));
        let now = REQUEST_WINDOW_MICROS + 9;
        let revision = |id| requests.get(id, now).map(|answered| answered.revision);
        assert_eq!((revision("a"), revision("b"), revision("c")), (Some(3), Some(2), Some(4)));
        assert!(requests.get("b", now + 1).is_none());
        requests.remember("d", answered(5, now + 1));
        assert_eq!((requests.answered.len(), requests.order.len()), (3, 3));
    }
}
