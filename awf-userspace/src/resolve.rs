//! From names to addresses and back: what the proxy asks for and the DNS side answers, which do not know each other.

mod server;

use std::{future::Future, net::IpAddr};

pub use server::{At, CertificateName, NameServer};

use crate::policy::{Chosen, DomainName, Reason};

/// Why a name gave no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error("{0} does not exist")]
    NoSuchName(DomainName),
    #[error("{0} has no address")]
    NoAddress(DomainName),
    #[error("resolving {name}: {why}")]
    Failed { name: DomainName, why: String },
    /// The question was not asked.
    #[error("{why}")]
    Refused { reason: Reason, why: String },
}

/// Resolves an allowed name outside the command's network.
pub trait Resolve: Send + Sync + 'static {
    /// IPv6 and IPv4 addresses of `name`, in the order to try them; never empty. `chosen`: how much of it was the
    /// asker's choice, by the policy that allows it.
    fn resolve(
        &self,
        name: &DomainName,
        chosen: Chosen<'_>,
    ) -> impl Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send;

    /// The addresses of a host that the operator named and the command cannot choose: found as other programs of this
    /// machine find it (hosts file, search domains), where the resolver does not know it.
    fn resolve_host(
        &self,
        name: &DomainName,
    ) -> impl Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send {
        self.resolve(name, Chosen::nothing(name))
    }

    /// Whether `name` may be told to somebody outside who looks it up in our place (an upstream proxy).
    ///
    /// # Errors
    /// [`ResolveError::Refused`], as resolving it would be.
    fn may_tell(&self, name: &DomainName, chosen: &Chosen<'_>) -> Result<(), ResolveError> {
        let _ = (name, chosen);
        Ok(())
    }

    /// The names for which the command was lately given `ip` as an answer, the latest first. They are all that is
    /// known of a connection whose protocol carries no name (SSH, databases); such a name is judged, and resolved
    /// and dialled anew, like any other. Without an implementation these connections need a rule of addresses.
    fn names_of(&self, ip: IpAddr) -> Vec<DomainName> {
        let _ = ip;
        Vec::new()
    }
}
