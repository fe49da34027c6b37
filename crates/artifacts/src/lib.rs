//! Files of runs and models on a store: streams, multipart, listing, safe paths.
//!
//! A file is one object below the root of an [`Artifacts`]. It becomes visible in one step when its upload is complete;
//! an upload that ends early leaves nothing. Folders exist only through the files in them. Every path that comes from
//! outside goes through [`ArtifactPath::parse`], the only way to name a file.
//!
//! Besides plain streams there are uploads in numbered parts that a client sends over many requests
//! ([`Artifacts::create_upload`]). Their parts are objects below `#uploads/`, a name no [`ArtifactPath`] can have, so
//! they work the same on local files and on clouds.

mod artifacts;
mod content;
mod error;
mod path;

pub use artifacts::{Artifacts, Body, ByteRange, Entry, Meta, PartRef, PartTag};
pub use content::content_type;
pub use error::Error;
pub use path::ArtifactPath;
pub use runlake_storage::Access;
