//! A file system that forgets, held to what it promises: otherwise what is shown on it is shown by nothing.

use std::{
    fs::{self, File},
    io::Write as _,
};

use crate::forgetful::Forgetful;

#[test]
fn what_was_not_synced_is_gone_after_a_cut_and_what_was_is_there() {
    let Some(disk) = Forgetful::mounted() else { return };
    let (folder, root) = (disk.path().join("folder"), File::open(disk.path()).unwrap());
    fs::create_dir(&folder).unwrap();
    root.sync_all().unwrap();
    let mut kept = File::create(folder.join("kept")).unwrap();
    kept.write_all(b"synced").unwrap();
    kept.sync_all().unwrap();
    File::open(&folder).unwrap().sync_all().unwrap();
    kept.write_all(b" and not").unwrap();
    fs::write(folder.join("nameless"), b"its name was not synced").unwrap();
    File::open(folder.join("nameless")).unwrap().sync_all().unwrap();
    fs::rename(folder.join("kept"), folder.join("renamed")).unwrap();
    assert_eq!(fs::read(folder.join("renamed")).unwrap(), b"synced and not");
    drop(kept);

    disk.cut(None);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    assert_eq!(fs::read(folder.join("kept")).unwrap(), b"synced");
}

#[test]
fn a_torn_write_leaves_some_of_its_sectors() {
    let Some(disk) = Forgetful::mounted() else { return };
    let path = disk.path().join("file");
    let mut file = File::create(&path).unwrap();
    file.write_all(&[1; 64 * 512]).unwrap();
    file.sync_all().unwrap();
    File::open(disk.path()).unwrap().sync_all().unwrap();
    fs::write(&path, [2; 64 * 512]).unwrap();
    disk.cut(Some(1));
    let bytes = fs::read(&path).unwrap();
    let new = bytes.chunks(512).filter(|sector| sector.iter().all(|byte| *byte == 2)).count();
    let old = bytes.chunks(512).filter(|sector| sector.iter().all(|byte| *byte == 1)).count();
    assert!(new > 10 && old > 10, "{new} sectors new, {old} old of {}", bytes.len() / 512);
}
