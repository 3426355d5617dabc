mod limits;
mod primitives;
mod random;
mod stops;
mod trouble;
