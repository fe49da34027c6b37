//! Objects as local files that survive a power cut.
//!
//! A put stages the body in a hidden file beside its place, syncs it, publishes it in one step (a hard link for a
//! create, a rename for an overwrite), and syncs the folder that names it. Nobody ever sees half an object, and what
//! has been answered is on the disk: the body, its name, and the names of folders made on the way ([`folders`]).
//!
//! Staging files are called `#<digits>`; no operation sees them. Paths that a symbolic link leads out of the root are
//! refused, and listings do not follow links to folders. Every operation is one hop to the blocking pool.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, RenameTargetMode,
    Result,
};

mod failure;
mod folders;
mod publish;
mod read;
mod sweep;
mod upload;
mod walk;

pub(crate) use failure::is_local_failure;
use failure::{escaped, failed, unsupported};
use folders::Folders;
use publish::Staged;

/// Objects as local files below a folder: staged, synced, then published.
#[derive(Debug, Clone)]
pub struct DurableLocal {
    disk: Arc<Disk>,
}

impl std::fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DurableLocal({})", self.disk.root.display())
    }
}

/// The only calls that make things durable, apart from the rest so that a test can count them.
trait Sync: Send + std::marker::Sync + std::fmt::Debug {
    /// Body and length of a file are on the disk afterwards.
    fn file(&self, file: &File) -> io::Result<()>;
    /// The names in a folder are on the disk afterwards.
    fn folder(&self, folder: &FsPath) -> io::Result<()>;
}

#[derive(Debug)]
struct Fsync;

impl Sync for Fsync {
    fn file(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn folder(&self, folder: &FsPath) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

/// What the blocking half of every operation works on.
#[derive(Debug)]
struct Disk {
    /// Canonical, so that a path resolves into it or escapes.
    root: PathBuf,
    folders: Folders,
    sync: Arc<dyn Sync>,
}

impl DurableLocal {
    /// The files below `folder`, which is made when missing.
    pub async fn open(folder: PathBuf) -> std::result::Result<Self, crate::Error> {
        Self::open_with(folder, Arc::new(Fsync)).await
    }

    async fn open_with(folder: PathBuf, sync: Arc<dyn Sync>) -> std::result::Result<Self, crate::Error> {
        let made = {
            let (folder, sync) = (folder.clone(), Arc::clone(&sync));
            blocking(move || Ok(folders::make_root(&folder, &*sync))).await
        };
        let root = match made {
            Ok(made) => made?,
            Err(error) => {
                let problem = "the task that opened it was interrupted".to_owned();
                return Err(crate::Error::Folder { folder, problem, source: io::Error::other(error) });
            }
        };
        Ok(Self { disk: Arc::new(Disk { root, folders: Folders::default(), sync }) })
    }

    /// The folder the objects are in, with links resolved.
    pub fn root(&self) -> &FsPath {
        &self.disk.root
    }

    /// Removes `folder` and the folders in it, as far as they hold no files.
    pub(crate) async fn remove_empty_folders(&self, folder: PathBuf) -> Result<()> {
        self.run(move |disk| disk.folders.remove_empty(&disk.root, &folder)).await
    }

    /// Removes the staging files in `folder` that nobody has written to since `before`. How many.
    pub(crate) async fn sweep(&self, folder: PathBuf, before: std::time::SystemTime) -> Result<u64> {
        blocking(move || sweep::sweep(&folder, before)).await
    }

    /// Runs `work` on the blocking pool.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Disk) -> Result<T> + Send + 'static) -> Result<T> {
        let disk = Arc::clone(&self.disk);
        blocking(move || work(&disk)).await
    }
}

/// Runs `work` on the blocking pool, or here when there is no runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await?,
        Err(_) => work(),
    }
}

impl Disk {
    /// The file of an object. Purely textual.
    fn file_of(&self, location: &Path) -> Result<PathBuf> {
        let file = self.folder_of(location);
        match location.filename() {
            Some(name) if !is_staging(name) => Ok(file),
            _ => Err(failed("name", &file, io::Error::from(io::ErrorKind::InvalidFilename))),
        }
    }

    /// The folder of a prefix. Purely textual.
    fn folder_of(&self, prefix: &Path) -> PathBuf {
        let mut path = self.root.clone();
        path.extend(prefix.parts().map(|part| part.as_ref().to_owned()));
        path
    }

    /// `path` with links resolved, if that is inside the root.
    fn resolve(&self, path: &FsPath) -> Result<PathBuf> {
        let real = path.canonicalize().map_err(|error| failed("read", path, error))?;
        if real.starts_with(&self.root) { Ok(real) } else { Err(escaped(path)) }
    }

    /// `file` with the links of its folder resolved; the last part may itself be a link.
    fn resolve_parent(&self, file: &FsPath) -> Result<PathBuf> {
        let name = file.file_name().unwrap_or_default();
        Ok(self.resolve(parent(file))?.join(name))
    }

    fn put(&self, location: &Path, payload: &PutPayload, mode: &PutMode) -> Result<PutResult> {
        let place = self.file_of(location)?;
        let mut staged = Staged::new(self, place)?;
        staged.write(|file| payload.iter().try_for_each(|chunk| file.write_all(chunk)))?;
        match mode {
            PutMode::Create => staged.publish_new(self),
            _ => staged.publish_over(self),
        }
    }

    fn delete(&self, location: &Path) -> Result<()> {
        let file = self.resolve_parent(&self.file_of(location)?)?;
        let is_folder = file.symlink_metadata().is_ok_and(|found| found.is_dir());
        if is_folder {
            return Err(failed("delete", &file, io::Error::from(io::ErrorKind::NotFound)));
        }
        std::fs::remove_file(&file).map_err(|error| failed("delete", &file, error))
    }

    /// A copy is a second name of the same bytes: files are never changed in place once published.
    fn copy(&self, from: &Path, to: &Path, mode: CopyMode) -> Result<()> {
        let (_, source, _) = read::open(self, from.clone())?;
        let staged = Staged::link(self, &source, self.file_of(to)?)?;
        match mode {
            CopyMode::Create => staged.publish_new(self)?,
            CopyMode::Overwrite => staged.publish_over(self)?,
        };
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path, mode: RenameTargetMode) -> Result<()> {
        let mode = match mode {
            RenameTargetMode::Create => CopyMode::Create,
            RenameTargetMode::Overwrite => CopyMode::Overwrite,
        };
        if from == to {
            return read::open(self, from.clone()).map(drop);
        }
        self.copy(from, to, mode)?;
        self.delete(from)
    }
}

/// The names of staging files, in no place an object can have.
fn is_staging(name: &str) -> bool {
    name.strip_prefix('#').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

fn parent(path: &FsPath) -> &FsPath {
    path.parent().unwrap_or(path)
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if matches!(opts.mode, PutMode::Update(_)) {
            return Err(unsupported("put with PutMode::Update", self));
        }
        if !opts.attributes.is_empty() {
            return Err(unsupported("put with attributes", self));
        }
        let location = location.clone();
        self.run(move |disk| disk.put(&location, &payload, &opts.mode)).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        if !opts.attributes.is_empty() {
            return Err(unsupported("put_multipart with attributes", self));
        }
        let location = location.clone();
        let disk = Arc::clone(&self.disk);
        let staged = self.run(move |disk| Staged::new(disk, disk.file_of(&location)?)).await?;
        Ok(Box::new(upload::LocalUpload::new(disk, staged)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let location = location.clone();
        self.run(move |disk| {
            let (file, path, meta) = read::open(disk, location)?;
            options.check_preconditions(&meta)?;
            let range = read::bounds(&path, options.range.as_ref(), meta.size)?;
            let payload = GetResultPayload::File(file, path);
            Ok(GetResult { payload, meta, range, attributes: object_store::Attributes::default() })
        })
        .await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (location, ranges) = (location.clone(), ranges.to_vec());
        self.run(move |disk| {
            let (file, path, meta) = read::open(disk, location)?;
            ranges.into_iter().map(|range| read::range(&file, &path, meta.size, range)).collect()
        })
        .await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        locations
            .map(move |location| {
                let this = this.clone();
                async move {
                    let location = location?;
                    this.run(move |disk| disk.delete(&location).map(|()| location)).await
                }
            })
            .buffered(10)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        walk::stream(Arc::clone(&self.disk), prefix.cloned().unwrap_or_default(), None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        walk::stream(Arc::clone(&self.disk), prefix.cloned().unwrap_or_default(), Some(offset.clone()))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.cloned().unwrap_or_default();
        self.run(move |disk| walk::one_level(disk, &prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (from, to) = (from.clone(), to.clone());
        self.run(move |disk| disk.copy(&from, &to, options.mode)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let (from, to) = (from.clone(), to.clone());
        self.run(move |disk| disk.rename(&from, &to, options.target_mode)).await
    }
}

fn create_new(path: &FsPath) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

#[cfg(test)]
mod tests;
