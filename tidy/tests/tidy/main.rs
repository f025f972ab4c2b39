//! Rules of this repository that the compiler does not check: dependencies between crates and modules, sizes of files and
//! functions, the words of comments, constants named in the documentation, and the list of packages.

mod docs;
mod files;
mod floors;
mod modules;
mod programs;
mod sizes;
mod source;
mod words;
