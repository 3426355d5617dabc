//! Randomness. Nothing else in the engine may ask the system for it.

/// A source of random bytes that tests can fix.
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
}
