//! Environments by the hash of what they are made from.
//!
//! Below the cache's root: `envs/<key>/` is an environment, whole as soon as it has its manifest, which is written last;
//! `envs/<key>.lock` is held shared by whoever uses it and alone by whoever makes or removes it; `envs/<key>.log` is what
//! making it said, also when it failed. A directory without a manifest is what a crash left: the next maker removes it.
//! The programs that make an environment have its lock open as well, so that a maker that is killed does not let in the
//! next one before they are done. `jobs/<run>/` is what was rendered for a run.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use ring::digest::{Context, SHA256};
use runlake_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Manager, Workshop};
use crate::{Error, Result};

const MANIFEST: &str = "runlake-env.json";
const USED: &str = "last-used";
const JOB_LOCK: &str = "lock";
/// How often a lock that somebody else has is tried.
const LOOK: Duration = Duration::from_millis(100);
/// How much of a failed attempt's log the error shows.
const TAIL_LINES: usize = 15;

/// Where environments, tools and rendered jobs are kept.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// An environment of the cache.
#[derive(Debug, Clone)]
pub struct Cached {
    /// Its name.
    pub key: String,
    /// Who made it.
    pub manager: String,
    /// What for.
    pub summary: String,
    /// When it was last used.
    pub used: Timestamp,
    /// Its size on the disk.
    pub bytes: u64,
    /// Somebody uses it now.
    pub is_in_use: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    manager: String,
    summary: String,
    created: i64,
}

/// An environment that nobody removes meanwhile.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) directory: PathBuf,
    _lock: File,
}

/// What goes along while something is made.
#[derive(Debug)]
pub(crate) struct Making {
    /// What the tools say.
    pub(super) log: File,
    lock: File,
}

/// A folder of one run's, which stays as long as this is held.
#[derive(Debug)]
pub(crate) struct JobFolder {
    pub(crate) path: PathBuf,
    _lock: File,
}

/// What an environment is made from.
pub(crate) struct Key {
    manager: Manager,
    summary: String,
    hash: Context,
}

impl Key {
    pub(crate) fn new(manager: Manager, summary: impl Into<String>) -> Self {
        let mut key = Self { manager, summary: summary.into(), hash: Context::new(&SHA256) };
        key.add("form", "1");
        key.add("manager", manager.name());
        key.add("machine", std::env::consts::ARCH);
        key
    }

    /// Each part has its name and length, so that no two lists of parts are the same bytes.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        self.add_bytes(name, value.as_bytes());
    }

    pub(crate) fn add_bytes(&mut self, name: &str, value: &[u8]) {
        self.hash.update(format!("{name} {}\n", value.len()).as_bytes());
        self.hash.update(value);
    }

    /// Short, as interpreters have limits on the length of paths.
    fn name(&self) -> String {
        let digest = self.hash.clone().finish();
        let hex: Vec<String> = digest.as_ref()[..10].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{}", self.manager.name(), hex.concat())
    }
}

impl Making {
    /// For programs that make it: as long as one of them runs, nobody else makes the same, even if we are gone.
    pub(super) fn lock(&self) -> Result<File> {
        self.lock.try_clone().map_err(Error::io("cannot keep a lock"))
    }

    /// The same under another lock.
    pub(super) fn under(&self, lock: File) -> Result<Self> {
        Ok(Self { log: self.log.try_clone().map_err(Error::io("cannot keep a log"))?, lock })
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // What is made is made, also if a program left another one running that keeps the file open.
        let _closed = self.lock.unlock();
    }
}

impl Cache {
    /// The cache in a directory, which is made when it is needed.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder for what a tool needs.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    /// A folder of one run's, for what is rendered for it.
    pub(crate) fn job(&self, run: &str) -> Result<JobFolder> {
        let path = self.root.join("jobs").join(run);
        fs::create_dir_all(&path).map_err(Error::at("make", &path))?;
        let name = path.join(JOB_LOCK);
        let lock = openable(&name)?;
        lock.lock_shared().map_err(Error::at("lock", &name))?;
        Ok(JobFolder { path, _lock: lock })
    }

    fn environments(&self) -> PathBuf {
        self.root.join("envs")
    }

    /// The environment of a key: as it is, or made by `make` in the directory it is given. Of several who want it at
    /// once, one makes it and the others wait.
    pub(crate) fn ensure(
        &self,
        key: &Key,
        workshop: &Workshop<'_>,
        make: impl Fn(&Path, &mut Making) -> Result,
    ) -> Result<Held> {
        let name = key.name();
        let folder = self.environments();
        fs::create_dir_all(&folder).map_err(Error::at("make the cache", &folder))?;
        let directory = folder.join(&name);
        let lock = folder.join(format!("{name}.lock"));
        loop {
            let shared = lock_file(&lock, false, workshop)?;
            if is_whole(&directory) {
                let used = directory.join(USED);
                fs::write(&used, "").map_err(Error::at("write", &used))?;
                return Ok(Held { directory, _lock: shared });
            }
            drop(shared);
            let alone = lock_file(&lock, true, workshop)?;
            if !is_whole(&directory) {
                workshop.console.say(&format!("making the environment {name} ({})", key.summary));
                let log = folder.join(format!("{name}.log"));
                let file = File::create(&log).map_err(Error::at("write", &log))?;
                let making = Making { log: file, lock: alone };
                Self::build(key, &directory, &log, workshop, making, &make)?;
            }
        }
    }

    fn build(
        key: &Key,
        directory: &Path,
        log: &Path,
        workshop: &Workshop<'_>,
        mut making: Making,
        make: &impl Fn(&Path, &mut Making) -> Result,
    ) -> Result {
        remove(directory)?;
        fs::create_dir(directory).map_err(Error::at("make", directory))?;
        let made = make(directory, &mut making).and_then(|()| {
            let manifest = Manifest {
                manager: key.manager.name().to_owned(),
                summary: key.summary.clone(),
                created: workshop.clock.now().millis(),
            };
            let text = serde_json::to_vec(&manifest).expect("a manifest is JSON");
            let (new, path) = (directory.join("manifest.new"), directory.join(MANIFEST));
            fs::write(&new, text).map_err(Error::at("write", &new))?;
            fs::rename(&new, &path).map_err(Error::at("write", &path))
        });
        let made = made.and_then(|()| match lost_python(directory) {
            Some(python) => {
                Err(Error::environment(format!("its Python is to be {}, which is not there", python.display())))
            }
            None => Ok(()),
        });
        made.map_err(|error| {
            let left = remove(directory).err().map(|error| format!(" ({error})")).unwrap_or_default();
            match error {
                Error::Environment { message, .. } => Error::Environment {
                    message: format!("{message}{left}\n{}\nall of it: {}", tail(log), log.display()),
                    log: Some(log.to_owned()),
                },
                other => other,
            }
        })
    }

    /// What is in the cache, the least recently used first.
    pub fn list(&self) -> Result<Vec<Cached>> {
        let mut all = Vec::new();
        for name in self.names()? {
            let directory = self.environments().join(&name);
            let Some(manifest) = manifest(&directory) else { continue };
            let is_in_use = File::open(self.lock_of(&name)).is_ok_and(|file| file.try_lock().is_err());
            all.push(Cached {
                key: name,
                manager: manifest.manager,
                summary: manifest.summary,
                used: last_used(&directory),
                bytes: size(&directory),
                is_in_use,
            });
        }
        all.sort_by_key(|cached| cached.used);
        Ok(all)
    }

    /// Removes an environment, unless somebody uses it. Tells whether it is gone.
    pub fn remove(&self, key: &str) -> Result<bool> {
        let lock = self.lock_of(key);
        let file = File::create(&lock).map_err(Error::at("lock", &lock))?;
        if file.try_lock().is_err() {
            return Ok(false);
        }
        let folder = self.environments();
        // Whoever looks meanwhile is to see all of it or nothing.
        let gone = folder.join(format!("{key}.gone"));
        remove(&gone)?;
        match fs::rename(folder.join(key), &gone) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::at("remove", &gone)(error)),
            _ => remove(&gone)?,
        }
        for file in [folder.join(format!("{key}.log")), lock] {
            let _absent = fs::remove_file(file);
        }
        Ok(true)
    }

    /// Removes what crashes and failures left: half environments, their logs, locks of nothing; and what was rendered for
    /// runs before a time.
    pub fn sweep(&self, before: Timestamp) -> Result<Vec<String>> {
        let mut removed = Vec::new();
        for job in fs::read_dir(self.root.join("jobs")).into_iter().flatten().filter_map(Result::ok) {
            let lock = File::open(job.path().join(JOB_LOCK));
            let is_in_use = lock.is_ok_and(|lock| lock.try_lock().is_err());
            if !is_in_use && modified(&job.path()).is_some_and(|time| time < before) {
                remove(&job.path())?;
            }
        }
        for name in self.names()? {
            if !is_whole(&self.environments().join(&name)) && self.remove(&name)? {
                removed.push(name);
            }
        }
        Ok(removed)
    }

    fn lock_of(&self, key: &str) -> PathBuf {
        self.environments().join(format!("{key}.lock"))
    }

    /// The keys of everything that is there, whole or not.
    fn names(&self) -> Result<Vec<String>> {
        let folder = self.environments();
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::at("read the cache", &folder))?,
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .map(|name| name.split('.').next().unwrap_or_default().to_owned())
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }
}

/// A lock on a file that is still there when it is had: whoever removes an environment removes its lock as well.
pub(super) fn lock_file(path: &Path, alone: bool, workshop: &Workshop<'_>) -> Result<File> {
    let mut is_told = false;
    loop {
        workshop.cancel.check()?;
        let file = openable(path)?;
        match if alone { file.try_lock() } else { file.try_lock_shared() } {
            Ok(()) => {
                let inode = |metadata: io::Result<fs::Metadata>| metadata.map(|metadata| metadata.ino()).ok();
                if inode(file.metadata()) == inode(path.metadata()) {
                    return Ok(file);
                }
            }
            Err(TryLockError::WouldBlock) => {
                if !std::mem::replace(&mut is_told, true) {
                    workshop.console.say("waiting for another run that makes the same environment");
                }
                std::thread::sleep(LOOK);
            }
            Err(TryLockError::Error(error)) => return Err(Error::at("lock", path)(error)),
        }
    }
}

/// A file to be locked, which is empty for whoever reads it.
fn openable(path: &Path) -> Result<File> {
    File::options().create(true).read(true).append(true).open(path).map_err(Error::at("lock", path))
}

fn is_whole(directory: &Path) -> bool {
    directory.join(MANIFEST).is_file() && lost_python(directory).is_none()
}

/// The Python of the machine that an environment uses, if it was removed: the next one of the PATH would run in its place.
fn lost_python(directory: &Path) -> Option<PathBuf> {
    let python = directory.join("env/bin/python");
    let target = python.read_link().ok()?;
    (!python.exists()).then_some(target)
}

fn manifest(directory: &Path) -> Option<Manifest> {
    serde_json::from_slice(&fs::read(directory.join(MANIFEST)).ok()?).ok()
}

fn last_used(directory: &Path) -> Timestamp {
    modified(&directory.join(USED)).or_else(|| modified(&directory.join(MANIFEST))).unwrap_or_default()
}

fn modified(path: &Path) -> Option<Timestamp> {
    let time = path.metadata().and_then(|metadata| metadata.modified()).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(time.as_micros()).ok().map(Timestamp::from_micros)
}

/// Bytes of all files, links not followed.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

pub(super) fn remove(directory: &Path) -> Result {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::at("remove", directory)(error)),
        _ => Ok(()),
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..]
        .iter()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
