//! The control socket of a run of `exec`: its numbers, and its rules, which may be edited while it goes on. It ends with its
//! command alone.

use std::{path::Path, sync::Arc};

use tokio::sync::mpsc;

use super::{
    control::{self, Asked, ControlError, Reply, Request, Shown},
    live_rules::LiveRules,
};
use crate::audit::JsonSink;

/// Answers in the run's directory for as long as the runtime lives. Must run inside it.
///
/// # Errors
///
/// When the socket cannot be made.
pub(super) fn serve(
    dir: &Path,
    rules: LiveRules<JsonSink>,
    audit: Arc<JsonSink>,
) -> Result<(), ControlError> {
    let (sender, mut asked) = mpsc::channel(1);
    tokio::spawn(control::serve(control::listen(dir)?, sender));
    let rules = Arc::new(rules);
    tokio::spawn(async move {
        while let Some(Asked { request, peer, reply }) = asked.recv().await {
            let (rules, audit) = (Arc::clone(&rules), Arc::clone(&audit));
            // A policy of a million names is made again: connections do not wait for that.
            let answer = tokio::task::spawn_blocking(move || match request {
                Request::Show {} => Reply::Shown(Shown::of(&audit)),
                Request::Policy(request) => Reply::Policy(rules.answer(&request, &peer)),
                Request::Detach {} => Reply::Error("it is one of exec: it ends with its command".into()),
            });
            let _ = reply.send(answer.await.unwrap_or_else(|e| Reply::Error(e.to_string())));
        }
    });
    Ok(())
}
