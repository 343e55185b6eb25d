//! Who sits at a connection of the admin port, and who gives a place up.
//!
//! A connection is a stranger's until one of its requests was let through. Strangers may take every place, and none for long:
//! while all are taken, the one who has been there longest gives way to who comes. The newest is left its time, so that an
//! operator among operators comes to say who it is.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Context;

use futures_util::task::AtomicWaker;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is known of a connection's client; the connection and its requests share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Seat(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Its own and those behind it, as shown in the handshake.
    certificates: OnceLock<Vec<CertificateDer<'static>>>,
    operator: AtomicBool,
    gives_way: AtomicBool,
    connection: AtomicWaker,
}

impl Seat {
    /// The handshake is done, and this was shown in it.
    pub(super) fn shown(&self, certificates: &[CertificateDer<'_>]) {
        let owned = certificates.iter().cloned().map(CertificateDer::into_owned).collect();
        // There is one handshake.
        let _ = self.0.certificates.set(owned);
    }

    /// Whether its client has shown a certificate that `verifier` takes, now.
    pub(super) fn is_certified(&self, verifier: &dyn ClientCertVerifier) -> bool {
        let shown = self.0.certificates.get().and_then(|shown| shown.split_first());
        shown.is_some_and(|(own, behind)| verifier.verify_client_cert(own, behind, UnixTime::now()).is_ok())
    }

    /// A request was let through.
    pub(super) fn let_in(&self) {
        self.0.operator.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_strangers(&self) -> bool {
        !self.0.operator.load(Ordering::Relaxed)
    }

    /// Whether another needs the place; if not, the connection is woken when one does.
    pub(super) fn gives_way(&self, context: &Context<'_>) -> bool {
        self.0.connection.register(context.waker());
        self.0.gives_way.load(Ordering::Relaxed)
    }
}

/// Where connections sit.
pub(super) struct Places {
    room: Arc<Semaphore>,
    /// In the order in which they came; some have become operators since, or have gone.
    strangers: VecDeque<Weak<Known>>,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(most)), strangers: VecDeque::new() }
    }

    /// Waits for one; the oldest stranger is asked to go where there is none.
    pub(super) async fn next(&mut self) -> OwnedSemaphorePermit {
        let here = |known: &Weak<Known>| known.upgrade().is_some_and(|known| Seat(known).is_strangers());
        self.strangers.retain(here);
        if self.room.available_permits() == 0
            && self.strangers.len() > 1
            && let Some(oldest) = self.strangers.pop_front().and_then(|known| known.upgrade())
        {
            oldest.gives_way.store(true, Ordering::Relaxed);
            oldest.connection.wake();
        }
        Arc::clone(&self.room).acquire_owned().await.expect("a semaphore that is never closed")
    }

    /// Somebody has come.
    pub(super) fn seat(&mut self) -> Seat {
        let seat = Seat::default();
        self.strangers.push_back(Arc::downgrade(&seat.0));
        seat
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
    use rustls::RootCertStore;
    use rustls::server::WebPkiClientVerifier;

    use super::*;

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    fn authority() -> (Issuer, Arc<dyn ClientCertVerifier>) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        (issuer, WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap())
    }

    fn shown(issuer: &Issuer, end: i32) -> Seat {
        let mut params = CertificateParams::new(vec!["operator.example".into()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(end, 1, 1);
        let seat = Seat::default();
        seat.shown(&[params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()]);
        seat
    }

    #[test]
    fn a_certificate_holds_until_its_end_and_for_its_authority() {
        let (issuer, verifier) = authority();
        let (_, other) = authority();
        assert!(shown(&issuer, 4000).is_certified(verifier.as_ref()));
        assert!(!shown(&issuer, 4000).is_certified(other.as_ref()));
        assert!(!shown(&issuer, 2021).is_certified(verifier.as_ref()));
        assert!(!Seat::default().is_certified(verifier.as_ref()), "it shows none");
    }
}
