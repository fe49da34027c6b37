//! Builds the object store of a location.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::signer::Signer;
use url::Url;

use super::{Access, Local, Store, StoreSettings};
use crate::location::{Cloud, Location};
use crate::{DurableLocal, Error};

/// Makes signed URLs for the objects below a prefix.
#[derive(Debug, Clone)]
pub(super) struct Signing {
    signer: Arc<dyn Signer>,
    prefix: Path,
}

impl Signing {
    pub(super) fn below(&self, folder: &Path) -> Self {
        Self { signer: Arc::clone(&self.signer), prefix: joined(&self.prefix, folder) }
    }

    pub(super) async fn url(&self, access: Access, path: &Path, expires_in: Duration) -> object_store::Result<Url> {
        let method = match access {
            Access::Read => http::Method::GET,
            Access::Write => http::Method::PUT,
        };
        self.signer.signed_url(method, &joined(&self.prefix, path), expires_in).await
    }
}

fn joined(prefix: &Path, path: &Path) -> Path {
    prefix.parts().chain(path.parts()).collect()
}

pub(super) async fn open(location: &str, settings: &StoreSettings) -> Result<Store, Error> {
    match Location::parse(location)? {
        Location::Local(folder) => open_local(folder).await,
        Location::Memory { name, prefix } => Ok(open_memory(name, &prefix)),
        Location::Cloud { cloud, url, prefix } => open_cloud(cloud, url, prefix, settings),
    }
}

async fn open_local(folder: PathBuf) -> Result<Store, Error> {
    let files = DurableLocal::open(folder).await?;
    let root = files.root().to_path_buf();
    let url = Url::from_directory_path(&root).map_err(|()| Error::Location {
        location: root.display().to_string(),
        problem: "the folder's path is not absolute".into(),
    })?;
    let local = Local { root: root.into(), files: files.clone() };
    Ok(Store { objects: Arc::new(files), url, local: Some(local), signing: None })
}

/// Memory stores by name. They live as long as the process, so that a lake can be closed and opened again.
static MEMORIES: OnceLock<Mutex<HashMap<String, Arc<InMemory>>>> = OnceLock::new();

fn open_memory(name: Option<String>, prefix: &Path) -> Store {
    let mut url = Url::parse("memory:///").expect("a constant URL is valid");
    let objects = match name {
        None => Arc::default(),
        Some(name) => {
            url = Url::parse(&format!("memory://{name}/")).expect("the name was the host of a URL");
            let mut memories = MEMORIES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(memories.entry(name).or_default())
        }
    };
    Store { objects, url, local: None, signing: None }.folder(prefix.as_ref())
}

fn open_cloud(cloud: Cloud, url: Url, prefix: Path, settings: &StoreSettings) -> Result<Store, Error> {
    macro_rules! build {
        ($builder:ty) => {{
            let mut builder = <$builder>::from_env().with_url(url.as_str());
            for (key, value) in &settings.options {
                let known = key.to_ascii_lowercase().parse().map_err(|error| refused(&url, error))?;
                builder = builder.with_config(known, value);
            }
            let built = Arc::new(builder.build().map_err(|error| refused(&url, error))?);
            (Arc::clone(&built) as Arc<dyn ObjectStore>, built as Arc<dyn Signer>)
        }};
    }
    let (objects, signer) = match cloud {
        Cloud::S3 => build!(AmazonS3Builder),
        Cloud::Gcs => build!(GoogleCloudStorageBuilder),
        Cloud::Azure => build!(MicrosoftAzureBuilder),
    };
    let objects = if prefix.is_root() { objects } else { Arc::new(PrefixStore::new(objects, prefix.clone())) };
    Ok(Store { objects, url, local: None, signing: Some(Signing { signer, prefix }) })
}

#[allow(clippy::needless_pass_by_value, reason = "maps an error")]
fn refused(url: &Url, error: object_store::Error) -> Error {
    Error::Location { location: url.to_string(), problem: error.to_string() }
}
