//! Owns putting files away: `done/` and `refused/` below the folder, each move one durable change of name.
//! Refuses to know why a file is put there. Invariant: nothing that lies in either is ever overwritten, and no link leads out of the folder.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::store::dir;

pub(super) const DONE: &str = "done";
pub(super) const REFUSED: &str = "refused";
/// Ending of the file beside a refused one that says why.
pub(super) const PROBLEMS: &str = ".problems.json";
/// Files of one name in a shelf; a sender that repeats more often than this uses one name for everything.
const NUMBERS_MAX: u32 = 100_000;
/// File systems hold names of 255 bytes; a number and the ending of the reason must fit behind.
const NAME_BYTES_MAX: usize = 220;

/// Moves `folder/name` to `folder/shelf/`, under a numbered name where that one is taken; where it lies now.
pub(super) fn put(folder: &Path, shelf: &str, name: &OsStr) -> io::Result<PathBuf> {
    let shelf = made(folder, shelf)?;
    let to = shelf.join(free_name(&shelf, name)?);
    dir::rename(&folder.join(name), &to)?;
    Ok(to)
}

/// As `put` into `refused/`, with the reason written beside it first: a kill in between leaves a reason too many, never one too few.
pub(super) fn put_refused(folder: &Path, name: &OsStr, problem: &Value) -> io::Result<PathBuf> {
    let shelf = made(folder, REFUSED)?;
    let free = free_name(&shelf, name)?;
    let mut reason = free.clone();
    reason.push(PROBLEMS);
    let mut whole = json!({ "file": name.to_string_lossy() });
    if let (Some(whole), Some(problem)) = (whole.as_object_mut(), problem.as_object()) {
        whole.extend(problem.clone());
    }
    let text = format!("{whole:#}\n");
    write_new(&shelf.join(&reason), text.as_bytes())?;
    let to = shelf.join(&free);
    dir::rename(&folder.join(name), &to)?;
    Ok(to)
}

/// Brings a file back that changed while it was put away.
pub(super) fn take_back(folder: &Path, from: &Path, name: &OsStr) -> io::Result<()> {
    dir::rename(from, &folder.join(free_name(folder, name)?))
}

/// Makes the shelf, yet never the folder around it: that one may be a mount that is not there now.
/// Whoever may write into the folder may also have put a link there, to where they could not write themselves.
fn made(folder: &Path, shelf: &str) -> io::Result<PathBuf> {
    let shelf = folder.join(shelf);
    match fs::create_dir(&shelf) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if !fs::symlink_metadata(&shelf)?.is_dir() {
                return Err(io::Error::other(format!("{} is a link or a file, not a directory; nothing is put there", shelf.display())));
            }
        }
        other => other.and_then(|()| fs::set_permissions(&shelf, fs::Permissions::from_mode(0o755))).and_then(|()| dir::sync(folder))?,
    }
    Ok(shelf)
}

/// A reason left by a kill just before its file was moved is written again, whole; a link under its name is taken away, not followed.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).open(path)?;
    file.write_all(bytes)?;
    // Whoever dropped the document, under a user of their own, reads why it was refused.
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.sync_all()
}

/// `name`, or `name` with `-2`, `-3` … before its ending, whichever is not taken.
fn free_name(shelf: &Path, name: &OsStr) -> io::Result<OsString> {
    let name = shortened(name);
    for number in 1..=NUMBERS_MAX {
        let candidate = numbered(&name, number);
        match fs::symlink_metadata(shelf.join(&candidate)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(candidate),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    Err(io::Error::other(format!("{NUMBERS_MAX} files of one name lie in {}", shelf.display())))
}

/// A name that leaves room for a number and the ending of its reason.
fn shortened(name: &OsStr) -> OsString {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    let text = name.to_string_lossy();
    let cut = |text: &str, most: usize| {
        let mut room = most;
        text.chars().take_while(|letter| room.checked_sub(letter.len_utf8()).map(|left| room = left).is_some()).collect::<String>()
    };
    let (stem, ending) = text.rsplit_once('.').unwrap_or((&text, ""));
    format!("{}.{}", cut(stem, NAME_BYTES_MAX - 32), cut(ending, 16)).into()
}

fn numbered(name: &OsStr, number: u32) -> OsString {
    if number == 1 {
        return name.to_owned();
    }
    let path = Path::new(name);
    let mut numbered = path.file_stem().unwrap_or(name).to_owned();
    numbered.push(format!("-{number}"));
    if let Some(ending) = path.extension() {
        numbered.push(".");
        numbered.push(ending);
    }
    numbered
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_of_one_name_are_numbered_and_none_is_lost() {
        let folder = tempfile::tempdir().expect("a directory");
        let name = OsStr::new("a.b.XML");
        for text in ["one", "two", "three"] {
            fs::write(folder.path().join(name), text).expect("dropped");
            put(folder.path(), DONE, name).expect("moved");
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(DONE).join(name)).expect("kept");
        assert_eq!([read("a.b.XML"), read("a.b-2.XML"), read("a.b-3.XML")], ["one", "two", "three"]);
        assert!(!folder.path().join(name).exists());
    }

    #[test]
    fn a_refused_file_lies_beside_its_reason_under_one_number() {
        let folder = tempfile::tempdir().expect("a directory");
        for round in 1..=2 {
            fs::write(folder.path().join("a.XML"), "x").expect("dropped");
            put_refused(folder.path(), OsStr::new("a.XML"), &json!({ "round": round })).expect("moved");
        }
        let reason = |name: &str| fs::read_to_string(folder.path().join(REFUSED).join(name)).expect("a reason");
        let second: Value = serde_json::from_str(&reason("a-2.XML.problems.json")).expect("json");
        assert_eq!(second, json!({ "file": "a.XML", "round": 2 }));
        assert!(reason("a.XML.problems.json").contains("\"round\": 1") && folder.path().join("refused/a-2.XML").exists());
    }

    #[test]
    fn a_name_as_long_as_names_can_be_still_gets_a_reason_and_a_number() {
        let folder = tempfile::tempdir().expect("a directory");
        let name = format!("{}.XML", "警".repeat(83));
        for _ in 0..2 {
            fs::write(folder.path().join(&name), "x").expect("dropped");
            let to = put_refused(folder.path(), OsStr::new(&name), &json!({})).expect("moved");
            assert!(to.exists() && to.to_string_lossy().ends_with(".XML"), "{to:?}");
        }
        assert_eq!(fs::read_dir(folder.path().join(REFUSED)).expect("listed").count(), 4);
    }

    #[test]
    fn a_shelf_or_a_reason_that_is_a_link_leads_nothing_out_of_the_folder() {
        let (folder, outside) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("another"));
        let (at, name) = (|name: &str| folder.path().join(name), OsStr::new("a.XML"));
        fs::write(at("a.XML"), "x").expect("dropped");
        for shelf in [DONE, REFUSED] {
            symlink(outside.path(), at(shelf)).expect("linked");
        }
        let told = [put(folder.path(), DONE, name), put_refused(folder.path(), name, &json!({}))];
        for (shelf, told) in [DONE, REFUSED].into_iter().zip(told) {
            let why = told.expect_err("a link was followed").to_string();
            assert!(why.contains(&format!("{shelf} is a link")), "{why}");
        }
        assert!(at("a.XML").exists() && fs::read_dir(outside.path()).expect("listed").next().is_none());

        let foreign = outside.path().join("foreign");
        fs::write(&foreign, "theirs").expect("written");
        fs::remove_file(at(REFUSED)).expect("unlinked");
        fs::create_dir(at(REFUSED)).expect("made");
        symlink(&foreign, at("refused/a.XML.problems.json")).expect("linked");
        put_refused(folder.path(), name, &json!({})).expect("moved");
        assert_eq!(fs::read_to_string(&foreign).expect("kept"), "theirs");
        assert!(fs::symlink_metadata(at("refused/a.XML.problems.json")).expect("there").is_file());
    }

    #[test]
    fn a_reason_that_a_kill_left_alone_is_written_anew() {
        let folder = tempfile::tempdir().expect("a directory");
        fs::create_dir(folder.path().join(REFUSED)).expect("made");
        fs::write(folder.path().join("refused/a.XML.problems.json"), "{\"half").expect("left");
        fs::write(folder.path().join("a.XML"), "x").expect("dropped");
        put_refused(folder.path(), OsStr::new("a.XML"), &json!({})).expect("moved");
        let text = fs::read_to_string(folder.path().join("refused/a.XML.problems.json")).expect("a reason");
        assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
    }
}
