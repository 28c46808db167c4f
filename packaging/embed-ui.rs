//! Puts the built dashboard into the program: the files of the directory that `DASHBOARD_FILES` names, as
//! `packaging/build-ui.sh` leaves them there. Without it a debug build reads them from disk while it runs.

#![expect(clippy::print_stdout, reason = "that is how a build script speaks to cargo")]

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=packaging/embed-ui.rs");
    println!("cargo::rerun-if-env-changed=DASHBOARD_FILES");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    // <target>/<profile>/build/<package>/out
    let built = out.ancestors().nth(4).unwrap_or(&out).join("ui");
    if env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        println!("cargo::rustc-env=DASHBOARD_BUILT={}", built.display());
    }
    let files = match env::var_os("DASHBOARD_FILES").filter(|dir| !dir.is_empty()) {
        Some(dir) => list(Path::new(&dir))?,
        None => String::new(),
    };
    fs::write(out.join("ui.rs"), format!("&[{files}]"))
}

/// The files as the items of an array of names and contents, in the order of their names.
fn list(dir: &Path) -> io::Result<String> {
    println!("cargo::rerun-if-changed={}", dir.display());
    let mut names =
        fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    let item = |name: &std::ffi::OsString| {
        let path = dir.join(name);
        format!("({:?}, include_bytes!({:?}).as_slice()),", name.to_string_lossy(), path.display().to_string())
    };
    Ok(names.iter().filter(|name| name.to_string_lossy().ends_with(".gz")).map(item).collect())
}
