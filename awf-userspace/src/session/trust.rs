//! What makes programs trust the run's CA, from `ca` to the jail: neither knows the other.

use std::path::Path;

use crate::{
    ca,
    config::EnvPlan,
    jail::{
        rootfs::{MoreIn, OverFile, OwnFile, Trust},
        trust::{TrustFile, TrustFiles, TrustLink},
    },
};

/// The variables that a run of `env` sets when something is intercepted.
#[must_use]
pub fn names(env: &EnvPlan) -> Vec<String> {
    let set = ca::environment(&env.known(), &[]);
    set.into_iter().map(|(name, _)| name.to_string_lossy().into_owned()).collect()
}

/// What this machine and the caller of `env` trust, to be read before anything is made.
#[must_use]
pub fn look(env: &EnvPlan, home: &Path, here: &Path) -> ca::Found {
    ca::Found::look(&ca::Caller {
        variables: env.known(),
        home: home.into(),
        path: std::env::split_paths(env.path()).collect(),
        here: here.into(),
    })
}

/// For a root of the command's own.
#[must_use]
pub fn in_root(trust: &ca::Trust) -> Trust {
    let over =
        |over: &ca::Over| OverFile { at: over.at.clone(), file: over.file.clone(), optional: over.optional };
    let more = |more: &ca::More| MoreIn {
        at: more.at.clone(),
        links: more.links.clone(),
        others: more.others.clone(),
        ours: more.ours.clone(),
    };
    Trust {
        files: trust.files.clone(),
        links: trust.links.clone(),
        over: trust.over.iter().map(over).collect(),
        directories: trust.directories.iter().map(more).collect(),
        own: trust.data_base.as_ref().map(|content| OwnFile {
            dir: ca::DATA_BASE.into(),
            name: ca::DATA_BASE_FILE.into(),
            content: content.clone(),
        }),
    }
}

/// For `--chroot off`: the files alone, which variables name; no JVM's own.
#[must_use]
pub fn beneath_cover(trust: &ca::Trust) -> TrustFiles {
    let file = |(at, content): &(_, Vec<u8>)| TrustFile { at: Clone::clone(at), content: content.clone() };
    let link = |(at, to): &(_, _)| TrustLink { at: Clone::clone(at), to: Clone::clone(to) };
    TrustFiles {
        place: ca::PLACE.into(),
        files: trust.files.iter().filter(|(at, _)| !at.starts_with(ca::OF_JVMS)).map(file).collect(),
        links: trust.links.iter().map(link).collect(),
    }
}
