//! Clusters on disk: tokens, members, and who was removed.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wire::identity::{self, IdentityError, Joining, RevokedFile, Role, TOKEN_LIFETIME, Token};
use wire::{Identity, PeerName};

/// A directory for one test's machines, removed at the end.
struct Machines(PathBuf);

impl Machines {
    fn new(test: &str) -> Machines {
        let dir = std::env::temp_dir().join(format!("mosix-identity-test-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Machines(dir)
    }

    fn dir(&self, machine: &str) -> PathBuf {
        self.0.join(machine)
    }

    /// A cluster, made at `machine`.
    fn cluster(&self, machine: &str) -> PathBuf {
        let dir = self.dir(machine);
        identity::init_cluster(&dir, "lab", machine).unwrap();
        dir
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn token(ca: &Path, lifetime: Duration) -> Token {
    let address: SocketAddr = "10.0.0.1:7414".parse().unwrap();
    let text = identity::make_token(ca, &[address], lifetime).unwrap();
    let token = Token::parse(&text).unwrap();
    assert_eq!((token.addresses(), token.ca_sha256()), (&[address][..], identity::ca_sha256(ca).unwrap()));
    token
}

/// What a daemon and a joining machine do, without the network between them.
fn join(ca: &Path, joining: &Joining, dir: &Path) -> Result<PeerName, IdentityError> {
    let answer = identity::answer_enrolment(ca, &joining.request().unwrap());
    let result = joining.finish(dir, &answer.response);
    assert_eq!(answer.outcome.is_ok(), result.is_ok(), "{answer:?} {result:?}");
    result
}

fn names(ca: &Path) -> Vec<(String, bool)> {
    identity::members(ca).unwrap().into_iter().map(|member| (member.name, member.removed)).collect()
}

fn assert_private(dir: &Path) {
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(dir), 0o700);
    let files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_machine_joins_by_a_token() {
    let machines = Machines::new("join");
    let alpha = machines.cluster("alpha");
    let beta = machines.dir("beta");
    let name = join(&alpha, &Joining::new(token(&alpha, TOKEN_LIFETIME), "beta").unwrap(), &beta).unwrap();
    assert_eq!((name.name.as_str(), name.role), ("beta", Role::Node));
    assert_private(&alpha);
    assert_private(&beta);
    assert!(identity::is_authority(&alpha) && !identity::is_authority(&beta));
    let node = identity::load(&beta, Role::Node).unwrap();
    assert_eq!(node.name(), &name);
    let user = identity::load(&beta, Role::User).unwrap();
    assert_eq!((user.name().role, user.name().node.as_str()), (Role::User, "beta"));
    assert_eq!(node.issue_user("carol").unwrap().name().to_string(), "user carol@beta");
    assert!(matches!(user.issue_user("mallory"), Err(IdentityError::NoIssuer)));
    let copy = Identity::from_bytes(&node.to_bytes()).unwrap();
    assert_eq!(copy.issue_user("dave").unwrap().name().to_string(), "user dave@beta");
    assert_eq!(names(&alpha), [("alpha".to_owned(), false), ("beta".to_owned(), false)]);
    assert!(matches!(identity::members(&beta), Err(IdentityError::NotAuthority(_))));
    assert!(matches!(
        identity::make_token(&beta, &["10.0.0.2:1".parse().unwrap()], TOKEN_LIFETIME),
        Err(IdentityError::NotAuthority(_))
    ));
}

#[test]
fn a_token_is_good_once() {
    let machines = Machines::new("once");
    let alpha = machines.cluster("alpha");
    let token = token(&alpha, TOKEN_LIFETIME);
    let first = Joining::new(token.clone(), "beta").unwrap();
    // The answer to the first request is lost on the way: who has the keys may ask again.
    let lost = identity::answer_enrolment(&alpha, &first.request().unwrap());
    assert!(lost.outcome.is_ok());
    join(&alpha, &first, &machines.dir("beta")).unwrap();
    let second = Joining::new(token, "gamma").unwrap();
    let refused = join(&alpha, &second, &machines.dir("gamma"));
    assert!(matches!(&refused, Err(IdentityError::NotAdmitted(why)) if why.contains("used")), "{refused:?}");
    assert!(!machines.dir("gamma").exists());
    assert_eq!(names(&alpha).len(), 2);
}

#[test]
fn a_token_that_is_wrong_or_old_lets_nobody_in() {
    let machines = Machines::new("wrong");
    let (alpha, other) = (machines.cluster("alpha"), machines.cluster("other"));
    let old = token(&alpha, Duration::ZERO);
    assert!(old.is_expired());
    let refused = join(&alpha, &Joining::new(old, "beta").unwrap(), &machines.dir("beta"));
    assert!(
        matches!(&refused, Err(IdentityError::NotAdmitted(why)) if why.contains("expired")),
        "{refused:?}"
    );
    // Another cluster's: what it proves is not for this one.
    let foreign = Joining::new(token(&other, TOKEN_LIFETIME), "beta").unwrap();
    let refused = join(&alpha, &foreign, &machines.dir("beta"));
    assert!(matches!(&refused, Err(IdentityError::NotAdmitted(_))), "{refused:?}");
    // A machine that cannot let anybody in says no more than that.
    let beta = machines.dir("beta");
    join(&alpha, &Joining::new(token(&alpha, TOKEN_LIFETIME), "beta").unwrap(), &beta).unwrap();
    let joining = Joining::new(token(&alpha, TOKEN_LIFETIME), "gamma").unwrap();
    let refused = join(&beta, &joining, &machines.dir("gamma"));
    assert!(
        matches!(&refused, Err(IdentityError::NotAdmitted(why)) if !why.contains("beta/")),
        "{refused:?}"
    );
    for garbage in [&b""[..], b"\0", &[0xff; 5_000]] {
        assert!(identity::answer_enrolment(&alpha, garbage).outcome.is_err());
    }
    // What another has asked for, answered to this one.
    let [one, two] = ["one", "two"].map(|name| Joining::new(token(&alpha, TOKEN_LIFETIME), name).unwrap());
    let answer = identity::answer_enrolment(&alpha, &one.request().unwrap());
    assert!(matches!(two.finish(&machines.dir("two"), &answer.response), Err(IdentityError::Damaged(..))));
}

#[test]
fn a_name_is_given_once_and_again_after_its_removal() {
    let machines = Machines::new("names");
    let alpha = machines.cluster("alpha");
    let mine = token(&alpha, TOKEN_LIFETIME);
    let taken = join(&alpha, &Joining::new(mine.clone(), "alpha").unwrap(), &machines.dir("x"));
    assert!(matches!(&taken, Err(IdentityError::NotAdmitted(why)) if why.contains("alpha")), "{taken:?}");
    assert!(matches!(identity::export_bundle(&alpha, "alpha"), Err(IdentityError::NameTaken(_))));
    assert!(matches!(Joining::new(mine.clone(), "a/b"), Err(IdentityError::BadName(_))));
    // The name was refused, not the token.
    join(&alpha, &Joining::new(mine, "beta").unwrap(), &machines.dir("beta")).unwrap();
    assert!(matches!(identity::remove_member(&alpha, "alpha"), Err(IdentityError::RemoveSelf(_))));
    assert!(matches!(identity::remove_member(&alpha, "gamma"), Err(IdentityError::NoMember(_))));
    identity::remove_member(&alpha, "beta").unwrap();
    assert_eq!(names(&alpha), [("alpha".to_owned(), false), ("beta".to_owned(), true)]);
    let again = Joining::new(token(&alpha, TOKEN_LIFETIME), "beta").unwrap();
    let beta = machines.dir("beta again");
    join(&alpha, &again, &beta).unwrap();
    let (old, new) = (
        identity::load(&machines.dir("beta"), Role::Node).unwrap(),
        identity::load(&beta, Role::Node).unwrap(),
    );
    // It was told of its predecessor when it joined.
    assert!(new.revoked().has_any(&old.key_ids()) && !new.revoked().has_any(&new.key_ids()));
}

#[test]
fn who_was_removed_is_told_from_daemon_to_daemon() {
    let machines = Machines::new("removed");
    let (alpha, other) = (machines.cluster("alpha"), machines.cluster("other"));
    let [beta, gamma] = ["beta", "gamma"].map(|name| {
        let dir = machines.dir(name);
        join(&alpha, &Joining::new(token(&alpha, TOKEN_LIFETIME), name).unwrap(), &dir).unwrap();
        dir
    });
    let follow = |dir: &Path| RevokedFile::open(dir, &identity::load(dir, Role::Node).unwrap()).unwrap();
    let (mut at_alpha, mut at_beta) = (follow(&alpha), follow(&beta));
    assert_eq!((at_alpha.sequence(), at_alpha.bytes().len()), (0, 0));
    assert_eq!(at_alpha.refresh(), Ok(false));
    let removed = identity::load(&gamma, Role::Node).unwrap();
    let user = removed.issue_user("mallory").unwrap();
    identity::remove_member(&alpha, "gamma").unwrap();
    assert_eq!((at_alpha.refresh(), at_alpha.refresh()), (Ok(true), Ok(false)));
    assert!(at_alpha.revoked().has_any(&removed.key_ids()));
    assert!(!at_beta.revoked().has_any(&removed.key_ids()));

    assert_eq!(at_beta.merge(&at_alpha.bytes()), Ok(true));
    assert_eq!(at_beta.merge(&at_alpha.bytes()), Ok(false), "it is not news any more");
    assert!(at_beta.revoked().has_any(&removed.key_ids()) && at_beta.revoked().has_any(&user.key_ids()));
    assert_eq!(at_beta.refresh(), Ok(false), "what it wrote itself is no news");
    let restarted = identity::load(&beta, Role::Node).unwrap();
    assert!(restarted.revoked().has_any(&removed.key_ids()));
    assert_private(&beta);

    // Neither a changed list nor another cluster's counts.
    let mut changed = at_alpha.bytes().to_vec();
    let last = changed.len() - 1;
    for at in [0, 5, last / 2, last] {
        changed[at] ^= 1;
        assert!(at_beta.merge(&changed).is_err(), "byte {at}");
        changed[at] ^= 1;
    }
    assert!(follow(&other).merge(&at_alpha.bytes()).is_err());

    // An older list does not bring anybody back.
    let older = at_alpha.bytes();
    identity::remove_member(&alpha, "beta").unwrap();
    assert_eq!(at_alpha.refresh(), Ok(true));
    let mut at_new = follow(&alpha);
    assert_eq!(at_new.merge(&older), Ok(false));
    assert!(at_new.sequence() > at_beta.sequence());
    assert!(at_new.revoked().has_any(&removed.key_ids()) && at_new.revoked().has_any(&restarted.key_ids()));

    // A file that is damaged says so, and what was known holds.
    std::fs::write(alpha.join("revoked"), b"damage").unwrap();
    assert!(matches!(at_new.refresh(), Err(IdentityError::Damaged(..))));
    assert!(at_new.revoked().has_any(&removed.key_ids()));
    assert!(identity::load(&alpha, Role::Node).is_err());
}

#[test]
fn leaving_takes_our_files_and_no_others() {
    let machines = Machines::new("leave");
    let alpha = machines.cluster("alpha");
    let beta = machines.dir("beta");
    join(&alpha, &Joining::new(token(&alpha, TOKEN_LIFETIME), "beta").unwrap(), &beta).unwrap();
    std::fs::write(beta.join("notes"), b"mine").unwrap();
    identity::leave(&beta, false).unwrap();
    let left: Vec<_> = std::fs::read_dir(&beta).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["notes"]);
    assert!(matches!(identity::leave(&beta, false), Err(IdentityError::Missing(_))));
    assert!(matches!(identity::leave(&alpha, false), Err(IdentityError::HoldsAuthority(_))));
    identity::leave(&alpha, true).unwrap();
    assert!(!alpha.exists());
}

#[test]
fn secrets_do_not_show() {
    let machines = Machines::new("secrets");
    let alpha = machines.cluster("alpha");
    let text = identity::make_token(&alpha, &["10.0.0.1:1".parse().unwrap()], TOKEN_LIFETIME).unwrap();
    let token = Token::parse(&text).unwrap();
    let joining = Joining::new(token.clone(), "beta").unwrap();
    let request = joining.request().unwrap();
    let shown = format!("{token:?} {joining:?} {:?}", identity::load(&alpha, Role::User).unwrap());
    assert!(shown.len() < 400, "{shown}");
    // The directory has the secret's hash alone, and the request has no key.
    let kept = std::fs::read_to_string(alpha.join("tokens")).unwrap();
    assert_eq!(kept.split(' ').next().unwrap().len(), 64);
    let secret = &request[1..17];
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!kept.contains(&hex));
    assert!(request.len() < 500, "{}", request.len());
}
