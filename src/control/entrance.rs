//! TLS for those who come in: made of the config and the files that it names, and made anew when either changes.
//!
//! Operators renew certificates by writing files, so these are looked at every few seconds (a `stat` each); whoever sends
//! SIGHUP after writing them waits for nothing. What cannot be used is refused whole and told once, and what was goes on:
//! a file that is half written, or a key that has come before its certificate, is mended by the next look. So is what no file
//! shows, a descriptor that there was none of: each look tries again while the last one failed.
//!
//! Tickets outlive all that: one ticketer, which rotates its keys by itself, serves every configuration, so that a reload
//! costs nobody a full handshake. But a ticket would vouch for the client's certificate, too, and rustls looks neither at
//! its end nor at its authority when it resumes: where certificates are asked for, even if none is required, there are no
//! tickets, and each connection shows its own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoClientAuth, NoServerSessionStorage, ProducesTickets, VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::{RootCertStore, ServerConfig};

use crate::certificate::{AuthorityError, Certificate, CertificateError, Chooser, authorities};
use crate::config::{AdminTls, CertificateFiles, Certified, Listen};
use crate::limits;
use crate::link::{Entrance, Shown, Slot};

/// Why TLS cannot be served as the config has it.
#[derive(Debug, thiserror::Error)]
pub enum EntranceError {
    #[error("[listen] certificate {cert}: {error}")]
    Certificate { cert: PathBuf, error: CertificateError },
    #[error("[listen] certificates of clients' authorities in {path}: {error}")]
    Authority { path: PathBuf, error: AuthorityError },
    #[error("[listen] clients' certificates: {0}")]
    Verifier(#[from] VerifierBuilderError),
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

/// A file as it was when it was read. None: it is not there.
type Stamp = Option<[i64; 6]>;

/// Everything that was made of one look at the files.
#[derive(Debug)]
pub(super) struct Made {
    entrance: Arc<Entrance>,
    /// Of those who are asked for no certificate.
    ticketer: Arc<dyn ProducesTickets>,
    stamps: Vec<Stamp>,
}

impl Made {
    /// What `listen` and its files amount to, with the tickets of `before`.
    pub(super) fn new(listen: &Listen, before: Option<&Self>) -> Result<Self, EntranceError> {
        // Before they are read: what is written meanwhile shows at the next look.
        let stamps = stamps(listen);
        let mut certificates = listen.certificates.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        let ticketer = match before {
            Some(before) => Arc::clone(&before.ticketer),
            None => Ticketer::new()?,
        };
        // Read where nothing listens, too: what cannot be read is told.
        let authority =
            listen.client_ca.as_ref().map(|(path, certified)| Authority::read(path, *certified)).transpose()?;
        let clients = if listen.https.is_empty() {
            None
        } else {
            let verifier = authority.as_ref().map(Authority::verifier).transpose()?;
            Some(server_config(&certificates, verifier, Arc::clone(&ticketer))?)
        };
        let of_clients = certificates.len();
        let (admin, operators) = match &listen.admin_tls {
            Some(tls) => {
                certificates.push(load(&tls.own)?);
                let operators = operators(tls)?;
                (Some(server_config(&certificates[of_clients..], operators.clone(), Ticketer::new()?)?), operators)
            }
            None => (None, None),
        };
        let shown = certificates.iter().enumerate().map(|(at, certificate)| Shown {
            name: certificate.label().to_owned(),
            admin: at >= of_clients,
            not_after: certificate.not_after,
        });
        let entrance = Arc::new(Entrance { clients, admin, operators, certificates: shown.collect() });
        Ok(Self { entrance, ticketer, stamps })
    }
}

/// Whose certificates clients show, and whether they must.
struct Authority {
    roots: Arc<RootCertStore>,
    certified: Certified,
}

impl Authority {
    fn read(path: &Path, certified: Certified) -> Result<Self, EntranceError> {
        let roots = authorities(path).map_err(|error| EntranceError::Authority { path: path.into(), error })?;
        Ok(Self { roots: Arc::new(roots), certified })
    }

    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, EntranceError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), provider);
        Ok(match self.certified {
            Certified::Required => builder.build()?,
            Certified::Optional => builder.allow_unauthenticated().build()?,
        })
    }
}

fn operators(tls: &AdminTls) -> Result<Option<Arc<dyn ClientCertVerifier>>, EntranceError> {
    // A token does as well, so that nobody has to show one.
    let authority = tls.client_ca.as_deref().map(|path| Authority::read(path, Certified::Optional)).transpose()?;
    authority.as_ref().map(Authority::verifier).transpose()
}

/// TLS 1.2 and 1.3 and HTTP/1.1, nothing else.
fn server_config(
    certificates: &[Certificate],
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    ticketer: Arc<dyn ProducesTickets>,
) -> Result<Arc<ServerConfig>, EntranceError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let asks = verifier.is_some();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier.unwrap_or_else(|| Arc::new(NoClientAuth)))
        .with_cert_resolver(Arc::new(Chooser::new(certificates)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if asks {
        // What a ticket would resume has no end but the ticketer's, and that is put off each time.
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = ticketer;
    }
    // Tickets do for every client of these years; a cache would be a lock that all shards share, and resume as they do.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

fn load(files: &CertificateFiles) -> Result<Certificate, EntranceError> {
    Certificate::from_files(&files.cert, &files.key)
        .map_err(|error| EntranceError::Certificate { cert: files.cert.clone(), error })
}

/// Every file that `listen` names, as it is now.
fn stamps(listen: &Listen) -> Vec<Stamp> {
    let pairs = listen.certificates.iter().chain(listen.admin_tls.as_ref().map(|tls| &tls.own));
    let pairs = pairs.flat_map(|pair| [&pair.cert, &pair.key]);
    let authorities = listen.client_ca.as_ref().map(|(path, _)| path).into_iter();
    let admin = listen.admin_tls.as_ref().and_then(|tls| tls.client_ca.as_ref());
    pairs.chain(authorities).chain(admin).map(|path| stamp(path)).collect()
}

/// Replaced by renaming, it is another inode; written in place, it has another time. Copied with its times, or with its
/// permissions mended, it has another time of change: that nobody sets.
fn stamp(path: &Path) -> Stamp {
    let data = fs::metadata(path).ok()?;
    let [inode, len] = [data.ino(), data.len()].map(u64::cast_signed);
    Some([inode, len, data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec()])
}

/// The newest entrance, and the way to everybody who lets in by it.
#[derive(Debug)]
pub(super) struct Entrances {
    slot: Arc<Slot<Entrance>>,
    newest: Made,
    /// The files as of the last look, whether or not they could be used.
    seen: Vec<Stamp>,
    /// Why those of the last look could not be used, if they could not.
    refused: Option<String>,
    looked: Instant,
}

impl Entrances {
    pub(super) fn new(made: Made, now: Instant) -> Self {
        let slot = Arc::new(Slot::new(Arc::clone(&made.entrance)));
        Self { slot, seen: made.stamps.clone(), refused: None, newest: made, looked: now }
    }

    pub(super) fn slot(&self) -> &Arc<Slot<Entrance>> {
        &self.slot
    }

    /// The newest, whose tickets the next one goes on with.
    pub(super) fn newest(&self) -> &Made {
        &self.newest
    }

    /// Lets in by this from now on.
    pub(super) fn publish(&mut self, made: Made) {
        self.slot.publish(Arc::clone(&made.entrance));
        self.seen.clone_from(&made.stamps);
        self.refused = None;
        self.newest = made;
    }

    /// Time has passed: the files are looked at, where that is due.
    pub(super) fn on_time(&mut self, listen: &Listen, now: Instant) {
        if now.duration_since(self.looked) < limits::CERTIFICATES_LOOK_EVERY {
            return;
        }
        self.looked = now;
        let stamps = stamps(listen);
        if stamps == self.seen && self.refused.is_none() {
            return;
        }
        self.seen = stamps;
        match Made::new(listen, Some(&self.newest)) {
            Ok(made) => {
                self.publish(made);
                tracing::info!("certificates changed and were taken over");
            }
            Err(error) if self.is_news(&error) => {
                tracing::error!(%error, "certificates changed and cannot be used; the last ones go on");
            }
            Err(_) => {}
        }
    }

    /// Notes why the files cannot be used; not news when the last look said the same.
    fn is_news(&mut self, error: &EntranceError) -> bool {
        let said = Some(error.to_string());
        let news = self.refused != said;
        self.refused = said;
        news
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;

    /// A directory with a pair, and the config that names it.
    fn place() -> (TempDir, Listen) {
        let dir = tempfile::tempdir().unwrap();
        write_pair(&dir, "a.example");
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name).display().to_string());
        let text = format!(
            "[listen]\nhttps = [\"127.0.0.1:0\"]\n[[listen.certificates]]\ncert = \"{cert}\"\nkey = \"{key}\"\n\
             [[chains]]\nname = \"ethereum\"\nid = 1\n[[chains.providers]]\nid = \"alpha\"\nurl = \"http://127.0.0.1\"\n"
        );
        let listen = crate::config::Config::parse(&text, "test", |_| None, &[0]).unwrap().listen;
        (dir, listen)
    }

    fn write_pair(dir: &TempDir, name: &str) {
        let made = rcgen::generate_simple_self_signed(vec![name.into()]).unwrap();
        fs::write(dir.path().join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    }

    fn name(slot: &Slot<Entrance>) -> String {
        slot.load().1.certificates[0].name.clone()
    }

    #[test]
    fn a_changed_file_is_taken_over_when_it_can_be_used() {
        let (dir, listen) = place();
        let start = Instant::now();
        let mut entrances = Entrances::new(Made::new(&listen, None).unwrap(), start);
        let slot = Arc::clone(entrances.slot());
        let mut looks = 0;
        let mut look = |entrances: &mut Entrances| {
            looks += 1;
            entrances.on_time(&listen, start + limits::CERTIFICATES_LOOK_EVERY * looks);
        };
        look(&mut entrances);
        assert_eq!((slot.generation(), name(&slot).as_str()), (1, "a.example"), "nothing has changed");
        let before = fs::read(dir.path().join("cert.pem")).unwrap();
        write_pair(&dir, "b.example");
        entrances.on_time(&listen, start + Duration::from_millis(5_001));
        assert_eq!(slot.generation(), 1, "it is not looked at all the time");
        look(&mut entrances);
        assert_eq!((slot.generation(), name(&slot).as_str()), (2, "b.example"));
        fs::write(dir.path().join("cert.pem"), before).unwrap();
        look(&mut entrances);
        assert_eq!(slot.generation(), 2, "the key is another's");
        fs::remove_file(dir.path().join("cert.pem")).unwrap();
        look(&mut entrances);
        assert_eq!(slot.generation(), 2);
        write_pair(&dir, "c.example");
        look(&mut entrances);
        assert_eq!((slot.generation(), name(&slot).as_str()), (3, "c.example"));
    }

    #[test]
    fn what_comes_with_the_times_of_before_is_another_file() {
        let (dir, listen) = place();
        let files = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
        // Of one length, whatever their signatures take.
        let pad =
            || files.iter().for_each(|file| fs::File::options().write(true).open(file).unwrap().set_len(2048).unwrap());
        pad();
        let before = stamps(&listen);
        // The last that is written.
        let changed = || fs::metadata(&files[1]).map(|data| (data.ctime(), data.ctime_nsec())).unwrap();
        let first = changed();
        let modified = files.each_ref().map(|file| fs::metadata(file).unwrap().modified().unwrap());
        let start = Instant::now();
        let mut entrances = Entrances::new(Made::new(&listen, None).unwrap(), start);
        // The clock of files may tick as seldom as every few milliseconds.
        while changed() == first {
            write_pair(&dir, "b.example");
            pad();
            for (file, modified) in files.iter().zip(modified) {
                fs::File::options().write(true).open(file).unwrap().set_modified(modified).unwrap();
            }
        }
        let all_but_changed =
            |stamps: &[Stamp]| stamps.iter().map(|stamp| stamp.unwrap()[..4].to_vec()).collect::<Vec<_>>();
        assert_eq!(all_but_changed(&stamps(&listen)), all_but_changed(&before));
        entrances.on_time(&listen, start + limits::CERTIFICATES_LOOK_EVERY);
        assert_eq!(name(entrances.slot()), "b.example");
    }

    #[test]
    fn what_failed_is_tried_again_and_told_once() {
        let (dir, listen) = place();
        let start = Instant::now();
        let mut entrances = Entrances::new(Made::new(&listen, None).unwrap(), start);
        write_pair(&dir, "b.example");
        // As a look leaves it that found the files as they are and no descriptor to read them.
        entrances.seen = stamps(&listen);
        let failed = |reason: &str| EntranceError::Authority {
            path: "ca.pem".into(),
            error: std::io::Error::other(reason.to_owned()).into(),
        };
        let news = ["too many open files", "too many open files", "permission denied"]
            .map(|reason| entrances.is_news(&failed(reason)));
        assert_eq!(news, [true, false, true]);
        entrances.on_time(&listen, start + limits::CERTIFICATES_LOOK_EVERY);
        assert_eq!(name(entrances.slot()), "b.example");
        entrances.on_time(&listen, start + limits::CERTIFICATES_LOOK_EVERY * 2);
        assert_eq!(entrances.slot().generation(), 2, "once they are taken over there is nothing to try");
        assert!(entrances.is_news(&failed("permission denied")));
    }

    #[test]
    fn tickets_hold_over_reloads_and_are_none_where_certificates_are_asked_for() {
        let (dir, mut listen) = place();
        let first = Made::new(&listen, None).unwrap();
        let tickets = |made: &Made| {
            let clients = made.entrance.clients.as_ref().unwrap();
            (clients.ticketer.enabled(), clients.send_tls13_tickets > 0, clients.session_storage.can_cache())
        };
        assert_eq!(tickets(&first), (true, true, false));
        write_pair(&dir, "b.example");
        let second = Made::new(&listen, Some(&first)).unwrap();
        assert!(Arc::ptr_eq(&first.ticketer, &second.ticketer));
        let path = dir.path().join("cert.pem");
        for certified in [Certified::Optional, Certified::Required] {
            listen.client_ca = Some((path.clone(), certified));
            let third = Made::new(&listen, Some(&second)).unwrap();
            assert_eq!(tickets(&third), (false, false, false), "{certified:?}");
        }
        fs::write(&path, "").unwrap();
        assert!(Made::new(&listen, None).is_err());
    }
}
