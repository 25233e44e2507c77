//! Owns the way from the kernel's calls to the disk and back, and what is wrong with the disk at the moment.
//! Refuses to know what is safe (`disk`).
//! Invariant: nothing is cached by the kernel, so a cut is seen by whoever opens a file next; a sync that was not done is not answered.

use std::{
    ffi::OsStr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::{
    Trouble,
    disk::{Content, Disk, Names, Node, Number, Refused, Thing},
};

const NOTHING_CACHED: Duration = Duration::ZERO;
const BLOCK: u32 = 4096;
/// Four gigabytes, of which all are free: this disk is never full.
const BLOCKS: u64 = 1 << 20;

pub(super) struct State {
    pub(super) disk: Disk,
    pub(super) trouble: Option<Trouble>,
    /// Syncs that hang: what they are of, and who waits.
    waiting: Vec<(Number, ReplyEmpty)>,
    pub(super) syncs: u64,
}

impl State {
    pub(super) fn new() -> Self {
        Self { disk: Disk::blank(), trouble: None, waiting: Vec::new(), syncs: 0 }
    }

    pub(super) fn hanging(&self) -> usize {
        self.waiting.len()
    }

    /// Syncs that hang come to their end.
    pub(super) fn let_go(&mut self) {
        for (number, reply) in std::mem::take(&mut self.waiting) {
            self.sync(number, reply);
        }
    }

    /// Whoever waited is gone with the power.
    pub(super) fn drop_waiting(&mut self) {
        for (_, reply) in std::mem::take(&mut self.waiting) {
            reply.error(Errno::EIO);
        }
    }

    fn asked_to_sync(&mut self, number: Number, reply: ReplyEmpty) {
        match self.trouble {
            Some(Trouble::SyncFails) => {
                self.disk.fail_sync(number);
                reply.error(Errno::EIO);
            }
            Some(Trouble::SyncHangs) => self.waiting.push((number, reply)),
            Some(Trouble::WriteFails) | None => self.sync(number, reply),
        }
    }

    fn sync(&mut self, number: Number, reply: ReplyEmpty) {
        self.syncs += 1;
        done(self.disk.sync(number), reply);
    }
}

#[derive(Clone)]
pub(super) struct Served(pub(super) Arc<Mutex<State>>);

impl Served {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics while he holds the disk")
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let state = self.state();
        entry(&state.disk, state.disk.find(parent.0, &text(name)), reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        attributes(&self.state().disk, ino.0, reply);
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = self.state();
        let moded = mode.map_or(Ok(()), |mode| state.disk.chmod(ino.0, mode));
        let sized = size.map_or(Ok(()), |size| state.disk.resize(ino.0, place(size)));
        match moded.and(sized) {
            Ok(()) => attributes(&state.disk, ino.0, reply),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let mut state = self.state();
        let made = state.disk.make(parent.0, &text(name), mode, Thing::Folder(Names::default()));
        entry(&state.disk, made, reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.state().disk.remove(parent.0, &text(name)), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.state().disk.remove(parent.0, &text(name)), reply);
    }

    fn rename(&self, _: &Request, parent: INodeNo, name: &OsStr, to: INodeNo, to_name: &OsStr, flags: RenameFlags, reply: ReplyEmpty) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        done(self.state().disk.rename(parent.0, &text(name), to.0, &text(to_name)), reply);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, _: i32, reply: ReplyCreate) {
        let mut state = self.state();
        let made = state.disk.make(parent.0, &text(name), mode, Thing::File(Content::default()));
        let made = made.and_then(|number| Ok((number, state.disk.node(number)?)));
        match made {
            Ok((number, node)) => {
                let told = told_of(number, node);
                reply.created(&NOTHING_CACHED, &told, Generation(0), FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
            }
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn read(&self, _: &Request, ino: INodeNo, _: FileHandle, from: u64, size: u32, _: OpenFlags, _: Option<LockOwner>, reply: ReplyData) {
        match self.state().disk.read(ino.0, place(from), size as usize) {
            Ok(bytes) => reply.data(bytes),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        at: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.state();
        if matches!(state.trouble, Some(Trouble::WriteFails)) {
            return reply.error(Errno::EIO);
        }
        match state.disk.write(ino.0, place(at), bytes) {
            Ok(()) => reply.written(u32::try_from(bytes.len()).expect("the kernel gives a megabyte at most")),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.state().asked_to_sync(ino.0, reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.state().asked_to_sync(ino.0, reply);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, from: u64, mut reply: ReplyDirectory) {
        let state = self.state();
        let names = match state.disk.names(ino.0) {
            Ok(names) => names,
            Err(refused) => return reply.error(errno(refused)),
        };
        for (next, (name, number)) in (1..).zip(names).skip(place(from)) {
            let kind = state.disk.node(*number).map_or(FileType::RegularFile, kind_of);
            if reply.add(INodeNo(*number), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCK, 255, BLOCK);
    }
}

fn text(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}

fn place(number: u64) -> usize {
    usize::try_from(number).expect("files of a test fit into memory")
}

fn errno(refused: Refused) -> Errno {
    match refused {
        Refused::NoEntry => Errno::ENOENT,
        Refused::Exists => Errno::EEXIST,
        Refused::NotEmpty => Errno::ENOTEMPTY,
        Refused::NotAFolder => Errno::ENOTDIR,
        Refused::NotAFile => Errno::EISDIR,
    }
}

fn done(result: Result<(), Refused>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(refused) => reply.error(errno(refused)),
    }
}

fn entry(disk: &Disk, found: Result<Number, Refused>, reply: ReplyEntry) {
    match found.and_then(|number| Ok(told_of(number, disk.node(number)?))) {
        Ok(told) => reply.entry(&NOTHING_CACHED, &told, Generation(0)),
        Err(refused) => reply.error(errno(refused)),
    }
}

fn attributes(disk: &Disk, number: Number, reply: ReplyAttr) {
    match disk.node(number) {
        Ok(node) => reply.attr(&NOTHING_CACHED, &told_of(number, node)),
        Err(refused) => reply.error(errno(refused)),
    }
}

fn kind_of(node: &Node) -> FileType {
    if node.is_folder() { FileType::Directory } else { FileType::RegularFile }
}

fn told_of(number: Number, node: &Node) -> FileAttr {
    let (size, changed) = (node.length() as u64, SystemTime::UNIX_EPOCH + Duration::from_millis(node.changed));
    FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: changed,
        mtime: changed,
        ctime: changed,
        crtime: changed,
        kind: kind_of(node),
        perm: node.mode,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}
