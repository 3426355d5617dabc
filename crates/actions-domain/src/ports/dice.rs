//! Randomness. Nothing else in the engine may ask the system for it.

/// A source of random bytes that tests can fix. The real one is the system's cryptographic one.
pub trait Dice: Send + Sync {
    /// Uniform over all of `u64`.
    fn roll(&self) -> u64;

    /// Ten uniform bytes: the random part of an id.
    fn bytes(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&self.roll().to_le_bytes());
        bytes[8..].copy_from_slice(&self.roll().to_le_bytes()[..2]);
        bytes
    }

    /// Fills in uniform bytes that nobody can guess: what secrets are made of.
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.roll().to_le_bytes()[..chunk.len()]);
        }
    }
}
