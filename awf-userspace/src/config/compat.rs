//! Flags that are understood and do nothing: those of awf that are about Docker (accepted, with a warning), and
//! those this version does not have yet (refused by name: nobody should believe in a limit that is not there).

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};

/// How a flag is written.
#[derive(Clone, Copy, Debug)]
enum Takes {
    Nothing,
    Value,
}
use Takes::{Nothing, Value};

/// About images, containers, and the way awf steers Docker.
const DOCKER: &[(&str, Option<char>, Takes)] = &[
    ("agent-image", None, Value),
    ("build-local", Some('b'), Nothing),
    ("cloud-hypervisor-api-timeout-ms", None, Value),
    ("cloud-hypervisor-artifact-manifest", None, Value),
    ("cloud-hypervisor-artifact-manifest-bundle", None, Value),
    ("cloud-hypervisor-artifact-release-tag", None, Value),
    ("cloud-hypervisor-binary", None, Value),
    ("cloud-hypervisor-binary-sha256", None, Value),
    ("cloud-hypervisor-development-allow-unattested-artifacts", None, Nothing),
    ("cloud-hypervisor-kernel", None, Value),
    ("cloud-hypervisor-kernel-sha256", None, Value),
    ("cloud-hypervisor-memory-mib", None, Value),
    ("cloud-hypervisor-mount-policy", None, Value),
    ("cloud-hypervisor-preview", None, Nothing),
    ("cloud-hypervisor-rootfs", None, Value),
    ("cloud-hypervisor-rootfs-sha256", None, Value),
    ("cloud-hypervisor-supervisor", None, Value),
    ("cloud-hypervisor-supervisor-sha256", None, Value),
    ("cloud-hypervisor-vcpus", None, Value),
    ("cloud-hypervisor-virtiofsd-sha256", None, Value),
    ("container-runtime", None, Value),
    ("docker-host", None, Value),
    ("docker-host-path-prefix", None, Value),
    ("enable-api-proxy", None, Nothing),
    ("image-registry", None, Value),
    ("image-tag", None, Value),
    ("keep-containers", Some('k'), Nothing),
    ("legacy-security", None, Nothing),
    ("network-isolation", None, Nothing),
    ("no-network-isolation", None, Nothing),
    ("security-mode", None, Value),
    ("skip-pull", None, Nothing),
    ("topology-attach", None, Value),
];

/// A promise each: the last column says what to do instead.
const NOT_BUILT: &[(&str, Option<char>, Takes, Option<&str>)] = &[
    ("diagnostic-logs", None, Nothing, Some("use --log-level debug")),
    ("enable-dlp", None, Nothing, None),
    ("preset", None, Value, Some("name the domains with --allow-domains")),
    ("work-dir", None, Value, None),
];

/// Which of these flags were typed, without their dashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Compat {
    pub(super) docker: Vec<&'static str>,
    /// With what to do instead.
    pub(super) not_built: Vec<(&'static str, Option<&'static str>)>,
}

fn hidden(name: &'static str, short: Option<char>, takes: Takes) -> Arg {
    let arg = Arg::new(name).long(name).short(short).hide(true);
    match takes {
        Nothing => arg.action(ArgAction::Count),
        Value => arg.action(ArgAction::Append),
    }
}

impl Args for Compat {
    fn augment_args(command: Command) -> Command {
        let docker = DOCKER.iter().map(|&(name, short, takes)| hidden(name, short, takes));
        let later = NOT_BUILT.iter().map(|&(name, short, takes, _)| hidden(name, short, takes));
        command.args(docker.chain(later))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Compat {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let typed = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
        Ok(Self {
            docker: DOCKER.iter().map(|flag| flag.0).filter(|name| typed(name)).collect(),
            not_built: NOT_BUILT.iter().map(|flag| (flag.0, flag.3)).filter(|flag| typed(flag.0)).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
