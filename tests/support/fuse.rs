//! A FUSE file system with one folder of files, whose server answers as a test wants it: at once, late, not
//! at all. Spoken as in the kernel's `include/uapi/linux/fuse.h`. Needs root and `/dev/fuse`.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// At once.
    Prompt,
    /// The same, but each piece of a file's content after so long.
    Slow(Duration),
    /// The same, but content never.
    Unread,
    /// The same, and no file is opened either.
    Unopened,
    /// The folder may not be listed.
    Shut,
}

/// A mounted file system, until it is dropped.
pub struct Fuse {
    folder: PathBuf,
    server: Arc<Server>,
}

struct Server {
    device: File,
    files: Vec<(String, Vec<u8>)>,
    state: Mutex<State>,
}

struct State {
    manner: Manner,
    /// Answers that wait.
    late: Vec<(Instant, Vec<u8>)>,
    over: bool,
}

/// At once, also while somebody uses it.
pub fn unmount(folder: &Path) {
    let _ = Command::new("umount").arg("-l").arg(folder).status();
}

/// Mounts a file system whose server is who has the file.
pub fn mount(folder: &Path) -> File {
    let server = File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .unwrap();
    // Handed over as descriptor 0 of mount(8).
    let status = Command::new("mount")
        .args(["-i", "-t", "fuse", "tests"])
        .arg(folder)
        .args(["-o", "fd=0,rootmode=40000,user_id=0,group_id=0"])
        .stdin(server.try_clone().unwrap())
        .status();
    assert!(status.unwrap().success(), "mount");
    server
}

impl Fuse {
    /// Mounts a folder with these files.
    pub fn mount(folder: PathBuf, manner: Manner, files: Vec<(String, Vec<u8>)>) -> Self {
        let server = Arc::new(Server {
            device: mount(&folder),
            files,
            state: Mutex::new(State {
                manner,
                late: Vec::new(),
                over: false,
            }),
        });
        let ours = Arc::clone(&server);
        thread::spawn(move || ours.serve());
        let ours = Arc::clone(&server);
        thread::spawn(move || ours.answer_late());
        Self { folder, server }
    }

    /// Has it answer in another manner, also what waits.
    pub fn answer(&self, manner: Manner) {
        self.server.lock().manner = manner;
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        // Whoever waits gets an answer; the server ends with the last who uses it.
        self.answer(Manner::Prompt);
        unmount(&self.folder);
        self.server.lock().over = true;
    }
}

const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const ENOSYS: i32 = 38;

/// The number of the folder; files follow.
const ROOT: u64 = 1;

impl Server {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut request = vec![0; 1 << 18];
        // An error means that it is unmounted.
        while let Ok(length) = (&self.device).read(&mut request) {
            self.take(&request[..length]);
        }
    }

    fn answer_late(&self) {
        loop {
            let mut state = self.lock();
            let (manner, now) = (state.manner, Instant::now());
            let ready = state.late.extract_if(.., |(since, _)| match manner {
                Manner::Prompt | Manner::Shut => true,
                Manner::Slow(by) => now.duration_since(*since) >= by,
                Manner::Unread | Manner::Unopened => false,
            });
            for (_, answer) in ready {
                let _ = (&self.device).write(&answer);
            }
            if state.over {
                return;
            }
            drop(state);
            super::pause();
        }
    }

    fn take(&self, request: &[u8]) {
        let number = |at: usize| u64::from_ne_bytes(request[at..at + 8].try_into().unwrap());
        let short = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        let (opcode, unique, node) = (short(4), number(8), number(16));
        let manner = self.lock().manner;
        let answer = match opcode {
            // LOOKUP
            1 => {
                let name = request[40..].split(|byte| *byte == 0).next().unwrap();
                let found = self
                    .files
                    .iter()
                    .position(|(file, _)| file.as_bytes() == name);
                found.ok_or(ENOENT).map(|found| {
                    let node = found as u64 + ROOT + 1;
                    let mut entry = words(&[node, 0, 0, 0, 0]);
                    entry.extend(self.attributes(node));
                    entry
                })
            }
            // GETATTR
            3 => {
                let mut out = words(&[0, 0]);
                out.extend(self.attributes(node));
                Ok(out)
            }
            // OPENDIR
            27 if manner == Manner::Shut => Err(EACCES),
            // OPEN, OPENDIR
            14 | 27 => Ok(words(&[0, 0])),
            // READDIR
            28 => Ok(self.entries(number(48), short(56) as usize)),
            // READ
            15 => {
                let (_, bytes) = &self.files[index(node)];
                let from = bytes.len().min(usize::try_from(number(48)).unwrap());
                let to = bytes.len().min(from + short(56) as usize);
                Ok(bytes[from..to].to_vec())
            }
            // INIT: version 7.31 and nothing special.
            26 => {
                let mut out = vec![0; 64];
                out[..4].copy_from_slice(&7u32.to_ne_bytes());
                out[4..8].copy_from_slice(&31u32.to_ne_bytes());
                out[20..24].copy_from_slice(&4096u32.to_ne_bytes());
                Ok(out)
            }
            // STATFS
            17 => Ok(vec![0; 80]),
            // RELEASE, FLUSH, RELEASEDIR
            18 | 25 | 29 => Ok(Vec::new()),
            // FORGET, INTERRUPT, BATCH_FORGET have no answer.
            2 | 36 | 42 => return,
            _ => Err(ENOSYS),
        };
        let (error, body) = match answer {
            Ok(body) => (0, body),
            Err(error) => (-error, Vec::new()),
        };
        let length = u32::try_from(16 + body.len()).unwrap();
        let mut whole = length.to_ne_bytes().to_vec();
        whole.extend(error.to_ne_bytes());
        whole.extend(unique.to_ne_bytes());
        whole.extend(body);
        let read = opcode == 15 && manner != Manner::Prompt;
        if read || (opcode == 14 && manner == Manner::Unopened) {
            self.lock().late.push((Instant::now(), whole));
        } else {
            let _ = (&self.device).write(&whole);
        }
    }

    fn attributes(&self, node: u64) -> Vec<u8> {
        let is_folder = node == ROOT;
        let size = if is_folder {
            0
        } else {
            self.files[index(node)].1.len() as u64
        };
        // Number, size, blocks, and three times in seconds.
        let mut out = words(&[node, size, 1, 1_700_000_000, 1_700_000_000, 1_700_000_000]);
        let mode = if is_folder { 0o040_755 } else { 0o100_644 };
        // Nanoseconds of the times, mode, links, user, group, device, size of a block, flags.
        for word in [0u32, 0, 0, mode, 1, 0, 0, 0, 4096, 0] {
            out.extend(word.to_ne_bytes());
        }
        out
    }

    fn entries(&self, from: u64, most: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let from = usize::try_from(from).unwrap();
        for (number, (name, _)) in self.files.iter().enumerate().skip(from) {
            let mut entry = words(&[number as u64 + ROOT + 1, number as u64 + 1]);
            entry.extend(u32::try_from(name.len()).unwrap().to_ne_bytes());
            // A regular file.
            entry.extend(8u32.to_ne_bytes());
            entry.extend(name.as_bytes());
            entry.resize(entry.len().next_multiple_of(8), 0);
            if out.len() + entry.len() > most {
                break;
            }
            out.extend(entry);
        }
        out
    }
}

fn index(node: u64) -> usize {
    usize::try_from(node - ROOT - 1).unwrap()
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
