//! What the tests have in common. It speaks the words of the domain.

pub mod app;
pub mod audit;
pub mod clock;
pub mod cluster;
pub mod collector;
pub mod engine;
pub mod faults;
pub mod mutator;
pub mod passwords;
pub mod policy_peer;
pub mod postgres;
pub mod process;
pub mod pulse;
pub mod receiver;
pub mod redis;

/// Chooses the TLS implementation once, as `main` does.
pub fn install_crypto() {
    // A second installation is refused, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
