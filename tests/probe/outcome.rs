//! What an attempt can come to, and the JSON line that says so.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};

/// How far an attempt got; every variant is a leak or a door that should have been shut, except
/// [`Done::Answered`], which may be the firewall's own refusal page.
#[derive(Debug)]
pub(crate) enum Done {
    /// The canary's own answer came back: a full bypass.
    Reached,
    /// The kernel took the bytes; whether they left is for the canary to say.
    Sent(String),
    /// Something other than the canary answered (a refusal, as far as it can be printed).
    Answered(String),
    /// A door was opened (a socket family, a namespace, a foreign process) without a byte sent.
    Opened(String),
}

/// Why an attempt went no further.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The kernel refused the step.
    Refused(&'static str, io::Error),
    /// The step got no answer within its deadline: a hang, as the command sees it.
    Silent(&'static str),
    /// The other side closed without an answer.
    Closed(&'static str),
    /// The kernel has no such thing, or the test has not prepared it.
    Impossible(String),
}

pub(crate) type Attempt<T = Done> = Result<T, Stop>;

/// Names the step an error belongs to; a timeout becomes [`Stop::Silent`].
pub(crate) trait Step<T> {
    fn step(self, name: &'static str) -> Attempt<T>;
}

impl<T> Step<T> for io::Result<T> {
    fn step(self, name: &'static str) -> Attempt<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ETIMEDOUT | libc::EINPROGRESS) => Stop::Silent(name),
            Some(libc::ENOSYS) => {
                Stop::Impossible(format!("{name}: ENOSYS (not in this kernel, or filtered)"))
            }
            _ => Stop::Refused(name, error),
        })
    }
}

/// The result of a system call that answers -1 and sets errno.
pub(crate) fn cvt<T: Copy + PartialOrd + From<i8>>(value: T) -> io::Result<T> {
    if value < T::from(0) { Err(io::Error::last_os_error()) } else { Ok(value) }
}

pub(crate) fn to_json(vector: &str, attempt: &Attempt, took: Duration) -> Value {
    let (result, step, errno, detail) = match attempt {
        Ok(Done::Reached) => ("reached", "", 0, String::new()),
        Ok(Done::Sent(what)) => ("sent", "", 0, what.clone()),
        Ok(Done::Answered(what)) => ("answered", "", 0, what.clone()),
        Ok(Done::Opened(what)) => ("opened", "", 0, what.clone()),
        Err(Stop::Refused(step, error)) => {
            ("refused", *step, error.raw_os_error().unwrap_or(0), error.to_string())
        }
        Err(Stop::Silent(step)) => ("silent", *step, 0, "no answer within the deadline".to_owned()),
        Err(Stop::Closed(step)) => ("closed", *step, 0, String::new()),
        Err(Stop::Impossible(why)) => ("impossible", "", 0, why.clone()),
    };
    json!({
        "vector": vector, "result": result, "step": step, "errno": errno, "detail": detail,
        "ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    })
}
