//! One thing on disk: how it is to be, how it was, how it is.

use std::path::PathBuf;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Permissions and owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The twelve bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Access {
    #[must_use]
    pub const fn root(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0 }
    }
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Absent,
    Directory(Access),
    File {
        access: Access,
        #[serde(serialize_with = "encode", deserialize_with = "decode")]
        bytes: Vec<u8>,
    },
    /// A link, a device, a file too large to be one of these.
    Other,
}

impl State {
    #[must_use]
    pub fn file(access: Access, bytes: impl Into<Vec<u8>>) -> Self {
        Self::File { access, bytes: bytes.into() }
    }
}

/// What a piece is to the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Directory,
    Wrapper,
    Policy,
    Sudoers,
    DropIn,
    /// The runner's directory, given to root with `--protect-env`.
    RunnerDirectory,
    /// PATH of the runner's service, root's with `--protect-env`.
    Path,
    Env,
}

impl Role {
    /// For messages and `status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Wrapper => "wrapper",
            Self::Policy => "policy",
            Self::Sudoers => "sudo rule",
            Self::DropIn => "systemd drop-in",
            Self::RunnerDirectory => "runner directory",
            Self::Path => "runner's .path",
            Self::Env => "runner's .env",
        }
    }

    /// What belongs to the machine or its admin stays as it is if it is there; everything else there is somebody's
    /// that we do not know.
    #[must_use]
    pub fn keeps_what_is_there(self) -> bool {
        matches!(self, Self::Directory | Self::Policy)
    }

    /// It is there before us, and only changed.
    #[must_use]
    pub fn edits(self) -> bool {
        matches!(self, Self::Env | Self::Path | Self::RunnerDirectory)
    }
}

/// A piece of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub role: Role,
    pub path: PathBuf,
    pub want: State,
}

/// A piece as it is on record, written down before it is touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub role: Role,
    pub path: PathBuf,
    pub before: State,
    pub after: State,
    /// What an installation that this one replaces had made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<State>,
}

impl Change {
    /// Whether `now` is of our making.
    #[must_use]
    pub fn made(&self, now: &State) -> bool {
        self.after == *now || self.earlier.as_ref() == Some(now) || self.half_made(now)
    }

    /// A directory gets its owner and its mode in two steps.
    fn half_made(&self, now: &State) -> bool {
        let (State::Directory(before), State::Directory(now), State::Directory(after)) =
            (&self.before, now, &self.after)
        else {
            return false;
        };
        let owner = |access: &Access| (access.uid, access.gid);
        [owner(before), owner(after)].contains(&owner(now)) && [before.mode, after.mode].contains(&now.mode)
    }
}

fn encode<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(|e| D::Error::custom(format!("not base64: {e}")))
}
