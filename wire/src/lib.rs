//! Messages, QUIC link, identities.
