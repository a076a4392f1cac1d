//! A stand-in for GitHub's self-hosted runner: the processes that it makes, the way it makes them, and no server.
//!
//! What is imitated is read from actions/runner: `Runner.Listener/JobDispatcher.cs`, `Runner.Worker/{JobRunner,
//! JobExtension,StepsRunner,ActionManifestManager}.cs`, `Runner.Worker/Handlers/{ScriptHandler,RunnerPluginHandler,
//! StepHost}.cs` and `Runner.Sdk/ProcessInvoker.cs`. The program is named as the one it stands for, and acts accordingly.

mod invoke;
mod listener;
mod worker;

use std::process::ExitCode;

fn main() -> ExitCode {
    let argv: Vec<String> = std::env::args().collect();
    let own = std::env::current_exe().expect("this program has a path");
    match (own.file_name().and_then(|name| name.to_str()), &argv[1..]) {
        (Some("Runner.Listener"), [run, jobs @ ..]) if run == "run" => listener::run(&own, jobs),
        (Some("Runner.Worker"), [spawned, job]) if spawned == "spawnclient" => {
            worker::run(&own, job.as_ref())
        }
        _ => panic!("{} knows no {argv:?}", own.display()),
    }
}
