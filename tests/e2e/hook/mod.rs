//! The hooks of a self-hosted runner: jobs whose steps are behind the firewall, with a stand-in for GitHub's runner.

mod attacks;
mod hostile;
mod job;
mod setup;
mod stand_in;
