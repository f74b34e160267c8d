//! Fail points: named places on the way of a sample where a test makes this process die, fail or wait.
//!
//! Compiled in with the feature `failpoints` alone, which no release has; without it [`fail_point!`](crate::fail_point)
//! is nothing at all, names included. It lies here because both programs build on this crate. The points, with what they
//! stand for, are listed in `docs/FAILPOINTS.md`.
//!
//! ```text
//! DAVY_FAIL=log.commit.before:3:kill,state.apply:2+:error     point : which passage (3rd; 2nd and all later) : what
//! DAVY_FAIL_FILE=path    the same from a file, looked at again every 10 ms: a running process can be armed
//! DAVY_FAIL_HITS=path    gets a line "point action pid" before an order is carried out
//! DAVY_FAIL_SEEN=path    gets the name of each point the first time it is passed
//! ```
//!
//! Actions: `kill` (SIGKILL to itself, nothing unwinds or is flushed), `error` (where the point can fail), `delay=MS`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How often the file of orders is looked at.
const LOOK: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Kill,
    Error,
    Delay(Duration),
}

#[derive(Debug)]
struct Order {
    point: String,
    /// Which passage is meant, from 1.
    nth: u64,
    /// That one and all later ones.
    onwards: bool,
    action: Action,
    passed: u64,
}

#[derive(Debug, Default)]
struct Plan {
    text: String,
    orders: Vec<Order>,
    seen: BTreeSet<&'static str>,
}

static PLAN: OnceLock<Mutex<Plan>> = OnceLock::new();

/// Passes a point. True where the caller is to fail; comes back not at all where the order is to die.
#[must_use]
pub fn reached(point: &'static str) -> bool {
    let plan = PLAN.get_or_init(begin);
    let due = {
        let mut plan = plan.lock().unwrap_or_else(PoisonError::into_inner);
        if plan.seen.insert(point) {
            note("DAVY_FAIL_SEEN", point);
        }
        let of_point = plan.orders.iter_mut().filter(|o| o.point == point);
        let mut due = None;
        for order in of_point {
            order.passed += 1;
            if order.passed == order.nth || order.onwards && order.passed > order.nth {
                due = Some(order.action);
            }
        }
        due
    };
    let Some(action) = due else { return false };
    note("DAVY_FAIL_HITS", &format!("{point} {action:?} {}", std::process::id()));
    match action {
        Action::Error => true,
        Action::Delay(time) => {
            std::thread::park_timeout(time);
            false
        }
        Action::Kill => loop {
            // Where the signal cannot be sent the abort is as sudden.
            if rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            )
            .is_err()
            {
                std::process::abort();
            }
        },
    }
}

/// What SQLite says of a full disk.
pub(crate) fn disk_full() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
    rusqlite::Error::SqliteFailure(code, Some("a fail point".to_owned()))
}

/// A number that a test sets, for bounds that only months of running would reach.
#[must_use]
pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn begin() -> Mutex<Plan> {
    let mut plan = Plan::default();
    arm(&mut plan, std::env::var("DAVY_FAIL").unwrap_or_default());
    if let Some(file) = std::env::var_os("DAVY_FAIL_FILE").map(PathBuf::from) {
        read(&mut plan, &file);
        let follow = move || {
            loop {
                std::thread::park_timeout(LOOK);
                let Some(plan) = PLAN.get() else { continue };
                read(&mut plan.lock().unwrap_or_else(PoisonError::into_inner), &file);
            }
        };
        // Without the thread only the first orders count, and the test that waits for others says so.
        drop(std::thread::Builder::new().name("fail-points".to_owned()).spawn(follow));
    }
    Mutex::new(plan)
}

fn read(plan: &mut Plan, file: &Path) {
    // A file that is being replaced is read at the next look.
    if let Ok(text) = fs::read_to_string(file)
        && text != plan.text
    {
        arm(plan, text);
    }
}

/// Takes new orders in place of the old ones.
///
/// # Panics
/// Where they cannot be understood: a test that orders nothing must not pass.
fn arm(plan: &mut Plan, text: String) {
    plan.orders = text.trim().split(',').filter(|o| !o.is_empty()).map(order).collect();
    plan.text = text;
}

fn order(text: &str) -> Order {
    let parts: Vec<&str> = text.trim().split(':').collect();
    let [point, nth, action] = parts[..] else { panic!("{text:?} is not point:nth:action") };
    let (nth, onwards) = nth.strip_suffix('+').map_or((nth, false), |n| (n, true));
    let nth = nth.parse().unwrap_or_else(|_| panic!("{text:?}: {nth:?} is no number"));
    let action = match action.split_once('=') {
        None if action == "kill" => Action::Kill,
        None if action == "error" => Action::Error,
        Some(("delay", ms)) => Action::Delay(Duration::from_millis(
            ms.parse().unwrap_or_else(|_| panic!("{text:?}: {ms:?} is no number of ms")),
        )),
        _ => panic!("{text:?}: {action:?} is none of kill, error, delay=MS"),
    };
    Order { point: point.to_owned(), nth, onwards, action, passed: 0 }
}

/// Appends a line to the file that a variable names. The page cache keeps it whatever happens to this process.
fn note(variable: &str, line: &str) {
    let Some(path) = std::env::var_os(variable) else { return };
    let file = fs::File::options().create(true).append(true).open(path);
    // Whoever reads the file misses the line and says so.
    drop(file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())));
}

/// Passes the fail point of this name; with an error, the function returns it where the order is to fail.
#[macro_export]
macro_rules! fail_point {
    ($name:literal) => {
        if $crate::fail::reached($name) {
            // An order to fail where nothing can fail is a fault of the test.
            panic!("fail point {} cannot fail", $name);
        }
    };
    ($name:literal, $error:expr) => {
        if $crate::fail::reached($name) {
            return Err($error);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read() {
        let mut plan = Plan::default();
        arm(&mut plan, "log.commit.before:3:kill, state.apply:2+:error,a:1:delay=250\n".to_owned());
        let read: Vec<_> =
            plan.orders.iter().map(|o| (o.point.as_str(), o.nth, o.onwards, o.action)).collect();
        let want = [
            ("log.commit.before", 3, false, Action::Kill),
            ("state.apply", 2, true, Action::Error),
            ("a", 1, false, Action::Delay(Duration::from_millis(250))),
        ];
        assert_eq!(read, want);
    }

    #[test]
    #[should_panic(expected = "none of kill, error, delay=MS")]
    fn an_order_that_means_nothing_is_refused() {
        order("log.commit.before:1:explode");
    }
}
