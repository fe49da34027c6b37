//! MLflow Models: the file `MLmodel`, fetching a model by its URI, its environment, reading requests, scoring by worker
//! processes, and the server that does so over HTTP.
//!
//! A request becomes an Arrow batch here ([`request`]), checked against the model's signature; a [`pool`] of Python
//! processes turns it into the answer's JSON. This crate speaks to any MLflow server over REST and knows nothing of the
//! lake.

pub mod environment;
mod error;
pub mod fetch;
pub mod image;
pub mod json;
pub mod log;
pub mod mlmodel;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod pool;
pub mod request;
pub mod scorer;
pub mod serve;
pub mod signature;
pub mod table;
pub mod update;

pub use error::{Error, Result};
pub use mlmodel::MlModel;
