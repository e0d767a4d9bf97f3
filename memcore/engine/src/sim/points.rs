//! Crash points: named places on a write's way. An armed process sends itself SIGKILL there, as abruptly as the
//! kernel would, at the n-th time.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::vfs;
use crate::error::{Error, Result};

/// Every point, in the order in which a write passes them, and then what others do meanwhile. The last two are on the way to a forgetful disk only.
pub const POINTS: [&str; 17] = [
    "before_enqueue",
    "after_enqueue",
    "before_transaction",
    "after_begin",
    "after_insert",
    "before_cursor_commit",
    "before_commit",
    "after_commit",
    "after_cursor_commit",
    "after_publish",
    "after_reply",
    "before_checkpoint",
    "after_checkpoint",
    "before_bundle",
    "after_bundle",
    "before_sync",
    "after_sync",
];

/// Points that a store on an ordinary disk passes.
pub const POINTS_ON_ANY_DISK: usize = POINTS.len() - 2;

static REACHED: [AtomicU64; POINTS.len()] = [const { AtomicU64::new(0) }; POINTS.len()];
static ARMED: OnceLock<(Crash, Duration)> = OnceLock::new();
static EARLY_REPLIES: AtomicBool = AtomicBool::new(false);

/// Death at the `nth` time (from 1) that a point is reached. Written `point:nth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash {
    point: usize,
    nth: u64,
}

impl FromStr for Crash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (point, nth) = text.split_once(':').unwrap_or((text, ""));
        match (index(point), nth.parse()) {
            (Some(point), Ok(nth)) if nth > 0 => Ok(Self { point, nth }),
            (Some(_), _) => {
                let rule = "must be point:n with n from 1, such as before_commit:3";
                Err(Error::invalid("INVALID_CRASH_POINT", format!("crash {rule}, got {text:?}")))
            }
            (None, _) => Err(Error::invalid(
                "INVALID_CRASH_POINT",
                format!("crash point must be one of {}, got {point:?}", POINTS.join(", ")),
            )),
        }
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", POINTS[self.point], self.nth)
    }
}

fn index(point: &str) -> Option<usize> {
    POINTS.iter().position(|name| *name == point)
}

/// Arms the process. The thread that reaches the point stands still for `linger` before the process dies, so
/// that what other threads have begun, such as sending a reply, gets done. Only the first arming counts.
pub fn arm(crash: Crash, linger: Duration) {
    ARMED.get_or_init(|| (crash, linger));
}

/// How often a point was reached so far; 0 for a name that is no point.
pub fn reached(point: &str) -> u64 {
    index(point).map_or(0, |index| REACHED[index].load(Ordering::SeqCst))
}

/// Plants a fault: writes are answered before they are committed.
pub fn plant_early_replies() {
    EARLY_REPLIES.store(true, Ordering::SeqCst);
}

pub(crate) fn replies_early() -> bool {
    EARLY_REPLIES.load(Ordering::SeqCst)
}

pub(crate) fn reach(point: &'static str) {
    let found = index(point);
    assert!(found.is_some(), "{point} is not in the list of crash points");
    let Some(index) = found else { return };
    let times = REACHED[index].fetch_add(1, Ordering::SeqCst) + 1;
    if let Some((crash, linger)) = ARMED.get()
        && *crash == (Crash { point: index, nth: times })
    {
        thread::sleep(*linger);
        vfs::die();
    }
}
