//! Tokens: one line of text with which one machine joins, once, within minutes.
//!
//! A token is `mosix1-` and the base64url (RFC 4648 §5) of: SHA-256 of the CA's certificate, a random secret, its expiry,
//! where to ask, and the first bytes of SHA-256 of all that, against lost characters. The machine that made it keeps only
//! the secret's hash: `tokens`, a line for each with its expiry and, once it was used, by which key.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::revoked::{hex, unhex};
use super::store::{Lock, damaged, open_authority, read_lines, write};
use super::{IdentityError, KeyId, ca_sha256, random, sha256, unix_now};

/// How a token of this version begins.
pub const TOKEN_PREFIX: &str = "mosix1-";

/// How long a token is good for unless something else is asked for: time enough to walk to the other machine.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Addresses in a token: its length stays below a terminal's few lines.
const MAX_ADDRESSES: usize = 8;

/// Open tokens. A script that makes them without end is stopped here.
const MAX_TOKENS: usize = 10_000;

/// Longest text that is looked at.
const MAX_TEXT_BYTES: usize = 1_024;

/// A line is mistyped without notice once in 2³².
const CHECK_BYTES: usize = 4;

/// The right to join, as it is carried from one machine to another.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    ca_sha256: [u8; 32],
    secret: [u8; 16],
    expires: u64,
    addresses: Vec<SocketAddr>,
}

/// Without the secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Token { expires, addresses, .. } = self;
        f.debug_struct("Token")
            .field("expires", expires)
            .field("addresses", addresses)
            .finish_non_exhaustive()
    }
}

impl Token {
    /// Reads a token's text.
    pub fn parse(text: &str) -> Result<Token, IdentityError> {
        let wrong = |what: &str| IdentityError::BadToken(what.to_owned());
        let text = text.trim();
        let body = text.strip_prefix(TOKEN_PREFIX).filter(|_| text.len() <= MAX_TEXT_BYTES);
        let body = body.ok_or_else(|| wrong("it does not begin as a token of this version does"))?;
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| wrong("copy the whole line"))?;
        let (body, check) = bytes
            .split_last_chunk::<CHECK_BYTES>()
            .filter(|(body, check)| sha256(body)[..CHECK_BYTES] == **check)
            .ok_or_else(|| wrong("copy the whole line"))?;
        let _ = check;
        let token: Token = crate::message::decode(body).map_err(|_| wrong("another version made it"))?;
        match token.addresses.len() {
            1..=MAX_ADDRESSES => Ok(token),
            _ => Err(wrong("it does not say where to ask")),
        }
    }

    fn text(&self) -> String {
        let mut bytes = crate::message::encode(self);
        let check = sha256(&bytes);
        bytes.extend_from_slice(&check[..CHECK_BYTES]);
        format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Where daemons listen that can let a machine in.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// SHA-256 of the certificate of the cluster's CA.
    pub fn ca_sha256(&self) -> [u8; 32] {
        self.ca_sha256
    }

    /// Whether it is over by this machine's clock.
    pub fn is_expired(&self) -> bool {
        self.expires <= unix_now()
    }

    pub(super) fn secret(&self) -> [u8; 16] {
        self.secret
    }
}

/// Makes a token for one machine, where the cluster was made. `addresses` are those of this machine's daemon.
pub fn make_token(dir: &Path, addresses: &[SocketAddr], lifetime: Duration) -> Result<String, IdentityError> {
    // A machine that cannot answer the request makes no token.
    open_authority(dir)?;
    if !(1..=MAX_ADDRESSES).contains(&addresses.len()) {
        return Err(IdentityError::BadToken(format!("it takes 1 to {MAX_ADDRESSES} addresses")));
    }
    let expires = unix_now().saturating_add(lifetime.as_secs());
    let token =
        Token { ca_sha256: ca_sha256(dir)?, secret: random()?, expires, addresses: addresses.to_vec() };
    let _lock = Lock::take(dir)?;
    let mut open = read(dir)?;
    if open.len() >= MAX_TOKENS {
        return Err(IdentityError::BadToken(format!("{MAX_TOKENS} are open; wait until they expire")));
    }
    open.push(Open { hash: sha256(&token.secret), expires, used_by: None });
    save(dir, &open)?;
    Ok(token.text())
}

/// A line of `tokens`.
struct Open {
    hash: [u8; 32],
    expires: u64,
    /// Its holder may ask again, if the answer was lost on the way; nobody else may.
    used_by: Option<KeyId>,
}

/// Takes a token that is shown by the holder of a key: `let_in` is called if it is good, and it is used up if that
/// succeeds. The caller holds the directory's lock. An expired token is as unknown as a wrong one.
pub(super) fn redeem<T>(
    dir: &Path,
    secret: &[u8; 16],
    by: KeyId,
    let_in: impl FnOnce() -> Result<T, IdentityError>,
) -> Result<T, IdentityError> {
    let mut open = read(dir)?;
    // A hash is compared, of 128 random bits: time tells nothing of them.
    let hash = sha256(secret);
    let token = open.iter_mut().find(|token| token.hash == hash).ok_or(IdentityError::UnknownToken)?;
    match token.used_by {
        Some(key) if key != by => return Err(IdentityError::UsedToken),
        _ => token.used_by = Some(by),
    }
    let result = let_in()?;
    save(dir, &open)?;
    Ok(result)
}

/// Without those that have expired.
fn read(dir: &Path) -> Result<Vec<Open>, IdentityError> {
    let path = dir.join("tokens");
    let parse = |line: &String| {
        let mut fields = line.split(' ');
        let (hash, expires) = (unhex(fields.next()?)?, fields.next()?.parse().ok()?);
        let used_by = match fields.next()? {
            "-" => None,
            key => Some(KeyId::parse(key)?),
        };
        fields.next().is_none().then_some(Open { hash, expires, used_by })
    };
    let now = unix_now();
    let lines = read_lines(&path)?;
    let all = lines.iter().map(|line| parse(line).ok_or_else(|| damaged(&path, "it has a line of no token")));
    all.filter(|open| !open.as_ref().is_ok_and(|open| open.expires <= now)).collect()
}

fn save(dir: &Path, open: &[Open]) -> Result<(), IdentityError> {
    let line = |open: &Open| {
        let used_by = open.used_by.map_or_else(|| "-".to_owned(), |key| key.to_string());
        format!("{} {} {used_by}\n", hex(&open.hash), open.expires)
    };
    write(&dir.join("tokens"), open.iter().map(line).collect::<String>().as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> Token {
        let addresses = vec!["10.0.0.1:7414".parse().unwrap(), "[fd00::1]:7414".parse().unwrap()];
        Token { ca_sha256: [3; 32], secret: [0xa5; 16], expires: 1_800_000_000, addresses }
    }

    #[test]
    fn a_token_is_one_line_that_comes_back_whole() {
        let text = token().text();
        assert!(text.starts_with("mosix1-") && text.len() < 160, "{} {text}", text.len());
        assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
        assert_eq!(Token::parse(&format!(" {text}\n")), Ok(token()));
    }

    #[test]
    fn debug_hides_the_secret() {
        let text = format!("{:?}", token());
        assert!(!text.contains("165") && !text.contains("a5"), "{text}");
    }

    proptest! {
        #[test]
        fn a_character_that_is_lost_or_wrong_is_noticed(at in 0usize..120, other in "[A-Za-z0-9_-]") {
            let text = token().text();
            let at = at % text.len();
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            prop_assert_eq!(Token::parse(&changed).is_ok(), changed == text);
            let shorter = [&text[..at], &text[at + 1..]].concat();
            prop_assert!(Token::parse(&shorter).is_err());
        }

        #[test]
        fn any_text_is_read_without_harm(text in ".{0,200}") {
            prop_assert!(Token::parse(&text).is_err());
            let _ = Token::parse(&format!("{TOKEN_PREFIX}{text}"));
        }
    }
}
