//! The data folder: the database and a lock that keeps a second server out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

const DATABASE: &str = "coupon.db";
const LOCK: &str = "lock";
const PROBE: &str = ".write-probe";

/// Why a data folder cannot be used. Every message is one sentence with its remedy.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It does not exist, and the command does not create it.
    #[error("the data folder {} does not exist, start `coupon-server serve` once or correct --data-dir", .path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// Something else than a folder is there, or above it.
    #[error("the data folder {} is a file or lies below one, choose another --data-dir or move the file away", .path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// This user may not write there.
    #[error("the data folder {} is not writable, give this user the right to write there or choose another --data-dir", .path.display())]
    NotWritable {
        /// The folder.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error("the data folder {} is in use by another server{}, stop the other server or choose another --data-dir", .path.display(), holder(*.process))]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The other process's id, when it could be read.
        process: Option<u32>,
    },
    /// The disk is full.
    #[error("the disk of the data folder {} is full, make room or choose another --data-dir", .path.display())]
    DiskFull {
        /// The folder.
        path: PathBuf,
    },
    /// Anything else that the operating system reports.
    #[error("the data folder {} cannot be used ({error}), check the disk or choose another --data-dir", .path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the operating system said. Not a `source`: its text is already part of the sentence.
        error: std::io::Error,
    },
}

fn holder(process: Option<u32>) -> String {
    process.map_or_else(String::new, |id| format!(" (process {id})"))
}

impl DataDirError {
    fn from_io(path: &Path, error: std::io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Self::NotWritable { path }
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull { path },
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => Self::NotAFolder { path },
            _ => Self::Io { path, error },
        }
    }
}

/// What [`inspect`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderState {
    /// Not there yet; `serve` creates it.
    Missing,
    /// There, writable, and free.
    Free,
    /// There, and a server is running on it.
    InUse,
}

/// An open data folder. The lock is held as long as the value lives, and is let go by the operating
/// system however the process ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    // Only held: dropping it lets the lock go.
    _lock: Option<File>,
}

impl DataDir {
    /// Opens the folder for writing, creating it when missing, and keeps other servers out.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DataDirError> {
        let path = path.into();
        let fail = |error| DataDirError::from_io(&path, error);
        std::fs::create_dir_all(&path).map_err(fail)?;
        probe(&path).map_err(fail)?;
        let lock = lock(&path)?;
        Ok(Self { path, _lock: Some(lock) })
    }

    /// Opens an existing folder for reading, beside a server that may be writing it.
    ///
    /// # Errors
    /// [`DataDirError::Missing`] or [`DataDirError::NotAFolder`].
    pub fn open_read_only(path: impl Into<PathBuf>) -> Result<Self, DataDirError> {
        let path = path.into();
        match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => Ok(Self { path, _lock: None }),
            Ok(_) => Err(DataDirError::NotAFolder { path }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(DataDirError::Missing { path })
            }
            Err(error) => Err(DataDirError::from_io(&path, error)),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The SQLite database in the folder.
    pub fn database_path(&self) -> PathBuf {
        database_path(&self.path)
    }
}

/// Where the database of a data folder lies.
pub fn database_path(folder: &Path) -> PathBuf {
    folder.join(DATABASE)
}

/// Says what state a data folder is in, without creating or keeping anything.
///
/// # Errors
/// Whatever would keep [`DataDir::open`] from opening it, except that it is in use.
pub fn inspect(path: &Path) -> Result<FolderState, DataDirError> {
    match DataDir::open_read_only(path) {
        Err(DataDirError::Missing { .. }) => return Ok(FolderState::Missing),
        opened => opened.map(drop)?,
    }
    probe(path).map_err(|error| DataDirError::from_io(path, error))?;
    let Ok(file) = File::open(path.join(LOCK)) else {
        return Ok(FolderState::Free);
    };
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Ok(FolderState::InUse),
        Ok(()) => Ok(FolderState::Free),
        Err(TryLockError::Error(error)) => Err(DataDirError::from_io(path, error)),
    }
}

/// Finds out now, rather than in the middle of a transaction, whether files can be made here.
fn probe(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(PROBE);
    let written = File::create(&probe).and_then(|mut file| file.write_all(b"probe"));
    let removed = std::fs::remove_file(&probe);
    written.and(match removed {
        // Another process probed at the same moment and was faster to tidy up.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    })
}

fn lock(folder: &Path) -> Result<File, DataDirError> {
    let fail = |error| DataDirError::from_io(folder, error);
    // Not truncated: until the lock is ours the content belongs to its holder.
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder.join(LOCK))
        .map_err(fail)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let process =
                file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            let path = folder.to_owned();
            return Err(DataDirError::InUse { path, process });
        }
        Err(TryLockError::Error(error)) => return Err(fail(error)),
    }
    // For the message of whoever comes second.
    file.set_len(0).map_err(fail)?;
    file.rewind().map_err(fail)?;
    writeln!(file, "{}", std::process::id()).map_err(fail)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_is_created_and_locked() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        assert_eq!(inspect(&path).unwrap(), FolderState::Missing);
        assert!(!path.exists());
        let first = DataDir::open(&path).unwrap();
        assert_eq!(first.database_path(), path.join("coupon.db"));
        assert_eq!(inspect(&path).unwrap(), FolderState::InUse);
        let error = DataDir::open(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "the data folder {} is in use by another server (process {}), stop the other server or choose another --data-dir",
                path.display(),
                std::process::id()
            )
        );
        // Reading goes beside it, and the lock ends with the value.
        assert_eq!(DataDir::open_read_only(&path).unwrap().path(), path);
        drop(first);
        assert_eq!(inspect(&path).unwrap(), FolderState::Free);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for path in [file.path().to_owned(), file.path().join("below")] {
            let error = DataDir::open(&path).unwrap_err();
            assert!(matches!(error, DataDirError::NotAFolder { .. }), "{error}");
        }
        assert!(
            inspect(file.path())
                .unwrap_err()
                .to_string()
                .contains("is a file or lies below one, choose another --data-dir")
        );
    }

    #[test]
    fn reading_a_missing_folder_creates_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("none");
        assert!(matches!(DataDir::open_read_only(&path), Err(DataDirError::Missing { .. })));
        assert!(!path.exists());
    }

    #[test]
    fn kinds_of_failure_have_their_own_sentence() {
        let say = |kind: ErrorKind| DataDirError::from_io(Path::new("d"), kind.into()).to_string();
        assert!(say(ErrorKind::PermissionDenied).contains("d is not writable"));
        assert!(say(ErrorKind::ReadOnlyFilesystem).contains("d is not writable"));
        assert!(say(ErrorKind::StorageFull).contains("disk of the data folder d is full"));
        assert!(say(ErrorKind::TimedOut).contains("check the disk"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_that_takes_no_files_is_not_writable() {
        // The kernel's own file system refuses new files to every user, root included.
        let error = DataDir::open("/proc/self").unwrap_err();
        assert!(error.to_string().contains("the data folder /proc/self"), "{error}");
    }
}
