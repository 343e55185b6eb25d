//! What is limited and shared by all shards: rates, months and places, each in one word. Pure.
//!
//! Two limits of a reseller's meet here: what may be sent to a provider ([`crate::routing::Outbound`], the plan that
//! was bought) and what a key may ask for ([`crate::tenant`], the plan that was sold). Both want the same: a bound that
//! holds over all shards together, without a lock, exact where the rate is low, and without fighting over a line for
//! each call where it is high. So a shard takes some of it at once, a [`Chunk`], and spends that by itself.
//!
//! In reading order: [`Meter`] is a rate, [`MonthCount`] an amount until a date, [`Places`] what is under way.
//!
//! Memory order: relaxed, each word is all there is to know. A loop that loses
//! [`WORD_TRIES_MAX`](crate::limits::WORD_TRIES_MAX) times refuses: never more than the plan.

mod meter;
mod month;
mod places;

pub use self::meter::CHUNK_LIFE;
pub(crate) use self::meter::{CHUNK_LIFE_TICKS, Chunk, Meter, Rate, SECOND};
pub use self::month::Month;
pub(crate) use self::month::{MonthChunk, MonthCount};
pub(crate) use self::places::Places;
