//! Rebuilds this crate when an SQL file is added: the files are compiled into it.

fn main() {
    println!("cargo:rerun-if-changed=../../sql");
}
