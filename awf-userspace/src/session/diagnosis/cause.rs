//! What is amiss in what a program reads, as text. Of its environment no value is told, only whether it is ours.

use super::{Facts, environments::States};
use crate::{
    audit::{ProcessInfo, Record},
    ca::{Program, STORE, Setting, option_of, program_of},
};

/// What a program that is not known may well read.
const USUAL: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Why a program does not trust the run's CA.
#[derive(Debug, PartialEq)]
pub(super) enum Cause<'a> {
    /// It was told of others by this option.
    Option(&'static str),
    /// These variables are not what was set.
    Changed(Vec<&'static str>),
    Setting(&'a Setting),
    /// All that it reads is missing.
    Missing(&'static [&'static str]),
    /// It reads the machine's files alone, which are not covered.
    Files,
    /// It has a data base of its own.
    Own,
}

impl<'a> Cause<'a> {
    /// Looks for it.
    pub(super) fn of(process: &ProcessInfo, facts: &'a Facts) -> Option<Self> {
        let environment = facts.environments.of(process);
        Self::with(program_of(process), process.argv.as_deref(), environment.as_ref(), facts)
    }

    fn with(
        program: Option<&'static Program>,
        argv: Option<&[String]>,
        environment: Option<&States>,
        facts: &'a Facts,
    ) -> Option<Self> {
        let Some(program) = program else {
            let changed = changed(&USUAL, environment?, facts);
            return (!changed.is_empty()).then_some(Self::Changed(changed));
        };
        if let Some(option) = argv.and_then(|argv| option_of(program, argv)) {
            return Some(Self::Option(option));
        }
        let variables = program.variables;
        if let Some(environment) = environment {
            let changed = changed(variables, environment, facts);
            if !changed.is_empty() {
                return Some(Self::Changed(changed));
            }
        }
        if let Some(setting) = facts.settings.iter().find(|setting| setting.program == program.name) {
            return Some(Self::Setting(setting));
        }
        match (variables.is_empty(), program.machine) {
            (true, false) => Some(Self::Own),
            (true, true) => (!facts.files).then_some(Self::Files),
            (false, machine) if machine && facts.files => None,
            (false, _) => {
                let environment = environment?;
                let missing = variables.iter().all(|name| !environment.contains_key(name));
                missing.then_some(Self::Missing(variables))
            }
        }
    }

    /// Whether it is one certificate that is wanted.
    pub(super) fn pins(&self) -> bool {
        const PIN: &str = "pinnedpubkey";
        match self {
            Self::Option(option) => option.ends_with(PIN),
            Self::Setting(setting) => setting.name == PIN,
            _ => false,
        }
    }

    /// What it is, and what to do.
    pub(super) fn text(&self, process: &ProcessInfo, facts: &Facts) -> String {
        let name = name(process);
        let reads = reads(process, facts);
        match self {
            Self::Option(option) if self.pins() => {
                format!(
                    "{option} makes {name} refuse every other key: leave it out, or leave the host's TLS alone"
                )
            }
            Self::Option(option) => format!(
                "{option} tells {name} whom to trust, whatever its variables say: leave it out, and let SSL_CERT_FILE \
                 name that file where awf-bpf is started (its certificates are added then)"
            ),
            Self::Changed(names) => {
                let (names, is) = (names.join(", "), if names.len() == 1 { "is" } else { "are" });
                format!("{reads}; {names} {is} not what awf-bpf set: leave its environment as it was")
            }
            Self::Setting(setting) => setting.to_string(),
            Self::Missing(_) => format!(
                "{reads}; its environment has none of that any more (--exclude-env, env -i, sudo?): pass it on"
            ),
            Self::Files if program_of(process).is_some_and(|program| program.name == "java") => format!(
                "java reads its JVM's key store, which --chroot off leaves as it is: \
                 -e JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore={STORE}"
            ),
            Self::Files => format!("{reads}, which --chroot off leaves as they are: leave that out"),
            Self::Own if name == "firefox" => format!(
                "firefox reads its profile's data base alone: add {} there with certutil, or leave the host's TLS alone",
                crate::ca::CA
            ),
            Self::Own => format!(
                "{name} reads a data base of NSS alone, which the command's HOME has in a root of its own (~/.pki/nssdb): \
                 leave HOME as it is and --chroot off out, or start it with --user-data-dir=DIR --ignore-certificate-errors-spki-list={}",
                facts.key_pin
            ),
        }
    }
}

/// Of a program that refuses this host's certificate only.
pub(super) fn of_pins(process: &ProcessInfo, record: &Record, elsewhere: bool) -> String {
    let how = match elsewhere {
        true => "takes the run's CA for other hosts",
        false => "finished the handshake and left without a word, again and again",
    };
    format!("{} {how}: it probably pins this host's own certificate: {}", name(process), advice(record))
}

/// Where nothing is found.
pub(super) fn of_none(process: &ProcessInfo, record: &Record, facts: &Facts) -> String {
    let reads = reads(process, facts);
    let advice = advice(record);
    match program_of(process) {
        // PHP's curl, for one, and whatever else has its libcurl from the distribution.
        Some(program) if program.machine && !facts.files => format!(
            "{reads}, of which --chroot off leaves the machine's files as they are: leave that out; {advice}"
        ),
        Some(_) if facts.environments.of(process).is_none() => {
            format!("{reads}; it had ended before that could be looked at: {advice}")
        }
        Some(_) => format!("{reads}, of which nothing was found amiss: code that names others? {advice}"),
        None => format!("{reads}: {advice}"),
    }
}

fn advice(record: &Record) -> String {
    match exclude(record) {
        Some(flag) => format!("{flag} leaves its TLS alone"),
        None => "--tls off leaves its TLS alone".to_owned(),
    }
}

/// The flag that passes the host's TLS through.
pub(super) fn exclude(record: &Record) -> Option<String> {
    Some(format!("--tls-exclude {}", record.host.as_deref().filter(|host| !host.is_empty())?))
}

fn name(process: &ProcessInfo) -> &str {
    let exe = || process.exe.as_deref().and_then(|exe| exe.rsplit('/').next());
    program_of(process).map(|program| program.name).or_else(exe).unwrap_or(&process.comm)
}

fn reads(process: &ProcessInfo, facts: &Facts) -> String {
    let name = name(process);
    let Some(program) = program_of(process) else {
        return format!(
            "what {name} reads is not known: most programs read SSL_CERT_FILE or the machine's files, some carry a \
             list of their own"
        );
    };
    let machine = ["the machine's files"];
    let files = if program.machine { &machine[..] } else { &[] };
    let of_variables = program.variables.iter().filter(|name| facts.environments.sets(name)).copied();
    let all: Vec<_> = of_variables.chain(files.iter().copied()).collect();
    format!("{name} reads {}", all.join(", "))
}

/// Those of `names` that are there, and not as they were set.
fn changed(names: &[&'static str], states: &States, facts: &Facts) -> Vec<&'static str> {
    let other = |name: &&&str| facts.environments.sets(name) && states.get(**name) == Some(&false);
    names.iter().filter(other).copied().collect()
}
