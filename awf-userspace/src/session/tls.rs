//! What is intercepted, and who vouches for it: from the plan to the proxy, and to what the command trusts.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustls::pki_types::CertificateDer;

use super::{
    SessionError,
    diagnosis::{Environments, Facts},
    prepare, trust,
};
use crate::{
    ca::{self, Authority, Leaves, Setting},
    config::{Chroot, SessionPlan, TlsMode, TlsPlan},
    jail::{rootfs::Trust, trust::TrustFiles},
    proxy::{Interception, Owner, Scope, Secure},
};

/// The run's CA.
#[derive(Debug)]
pub(super) struct Tls {
    authority: Arc<Authority>,
    scope: Scope,
    /// Whom servers are vouched for by.
    roots: Vec<CertificateDer<'static>>,
    trust: ca::Trust,
    /// What decides whom the next run trusts.
    files: Vec<PathBuf>,
    /// Of programs that are shown its certificates.
    environments: Arc<Environments>,
    /// What programs obey instead of it.
    settings: Vec<Setting>,
}

impl Tls {
    /// For run `id`, whose command's user has `home`; nothing where nothing is intercepted.
    ///
    /// # Errors
    /// When no CA can be made.
    pub(super) fn prepare(
        plan: &SessionPlan,
        id: &str,
        home: &Path,
        here: &Path,
    ) -> Result<Option<Self>, SessionError> {
        let scope = match plan.tls.mode {
            TlsMode::Off => return Ok(None),
            TlsMode::DenyOnly => Scope::Refused,
            TlsMode::On => Scope::All,
        };
        // Before there is a key: what crashes leaves none on the disk.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(|e| SessionError::Undumpable(e.into()))?;
        let authority = match &plan.tls.authority {
            Some(own) => Arc::clone(own),
            None => Arc::new(Authority::new(id, plan.timeout)?),
        };
        log::info!("TLS is intercepted by a CA with the SHA-256 fingerprint {}", authority.fingerprint());
        let found = trust::look(&plan.env, home, here);
        let trust = ca::Trust::new(&authority, &found);
        // Paths in it may be those of directories that an earlier command made: each is one line.
        trust.warnings.iter().for_each(|warning| log::warn!("{}", warning.replace('\n', "?")));
        let covered = if plan.jail.chroot == Chroot::Auto { &*found.bundles } else { &[] };
        let settings = ca::settings(home, here, covered, plan.jail.chroot == Chroot::Auto);
        settings.iter().for_each(|setting| log::warn!("{setting}"));
        if plan.jail.chroot == Chroot::Off {
            log::warn!("{}", trust.of_environment_alone());
        }
        let roots = found.roots.certificates().iter().chain(found.inherited.certificates());
        let roots: Vec<_> = roots.cloned().collect();
        log::debug!("servers are vouched for by {} certificates", roots.len());
        if roots.is_empty() && scope == Scope::All {
            log::warn!(
                "this host trusts no CA (is ca-certificates installed?): every intercepted server is refused"
            );
        }
        let environments = Arc::new(Environments::new(trust.variables.clone()));
        Ok(Some(Self { environments, authority, scope, roots, trust, files: found.files, settings }))
    }

    /// For the proxy.
    ///
    /// # Errors
    /// When the TLS library has no protocol.
    pub(super) fn interception(&self, plan: &TlsPlan) -> Result<Interception, SessionError> {
        let leaves = Arc::new(Leaves::new(Arc::clone(&self.authority))?);
        let secure = Secure::new(self.roots.iter().cloned()).map_err(SessionError::Tls)?;
        let exclude = plan.exclude().clone();
        let spared = move |host: &_, port| exclude.contains(host, port);
        let environments = Arc::clone(&self.environments);
        let numbered = prepare::in_first_pid_namespace();
        let met = move |owner: &Owner| {
            if numbered {
                environments.look(owner.tgid);
            }
        };
        let all =
            Interception::new(self.scope, leaves, Arc::new(secure), spared).map_err(SessionError::Tls)?;
        Ok(all.meeting(met))
    }

    /// Whom the command is made to trust, for what is said when it does not.
    pub(super) fn facts(&self, plan: &SessionPlan) -> Facts {
        Facts {
            environments: Arc::clone(&self.environments),
            settings: self.settings.clone(),
            files: plan.jail.chroot == Chroot::Auto,
            key_pin: self.trust.key_pin.clone(),
        }
    }

    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    pub(super) fn variables(&self) -> &[(OsString, OsString)] {
        &self.trust.variables
    }

    /// For a root of the command's own.
    pub(super) fn in_root(&self) -> Trust {
        trust::in_root(&self.trust)
    }

    /// For `--chroot off`.
    pub(super) fn beneath_cover(&self) -> TrustFiles {
        trust::beneath_cover(&self.trust)
    }
}
