//! Opens the object store a lake lives on, and is the only crate that spells an object's name.
//!
//! * [`Store::open`] takes a folder or a URL and gives an [`object_store::ObjectStore`] rooted there.
//! * [`DurableLocal`] is the store for local files: what it has answered survives a power cut.
//! * [`Store::put_new`] creates an object that must not exist yet, and knows its own earlier attempt again when an
//!   answer was lost. The whole lake is built on this one conditional write; nothing needs compare-and-swap.
//! * [`Recent`] keeps what was made of objects that were read lately.
//! * [`names`] holds the name of every object of a lake.

#![allow(clippy::result_large_err, reason = "every call that can fail here costs a disk or network access")]

mod error;
mod local;
mod location;
pub mod names;
mod nonce;
mod recent;
mod store;

pub use error::{Error, kind_of};
pub use local::DurableLocal;
pub use nonce::nonce;
pub use recent::Recent;
pub use store::{Access, PutNew, Store, StoreSettings};
