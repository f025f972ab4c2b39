//! Results as Markdown, with everything that is needed to reproduce them.

use std::process::Command;

/// Returns the first line that `program` prints with `args`.
fn first_line(program: &str, args: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(args).output() else { return format!("{program}: not installed") };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

/// Prints the time, the machine and the versions with which the benchmark `name` runs.
pub(crate) fn header(name: &str) {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> = cpu.lines().filter_map(|l| l.strip_prefix("model name")).collect();
    let model = models.first().map_or("unknown", |m| m.trim_start_matches(['\t', ':', ' ']));
    println!("\n### {name}, {}\n", first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"]));
    println!("- command: `{}`", std::env::args().skip(1).fold("benches".to_owned(), |all, arg| all + " " + &arg));
    println!("- commit {}, {}", first_line("git", &["rev-parse", "--short", "HEAD"]), first_line("rustc", &["-V"]));
    println!("- {} cores of {model}, Linux {}", models.len(), first_line("uname", &["-r"]));
    println!("- {}; {}", first_line("nginx", &["-v"]), first_line("wrk", &["-v"]));
    println!("- load average at the start: {}\n", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
}

/// Prints the header of a table.
pub(crate) fn table(columns: &[&str]) {
    row(columns);
    row(&vec!["---"; columns.len()]);
}

/// Prints a row of a table.
pub(crate) fn row<T: AsRef<str>>(cells: &[T]) {
    println!("| {} |", cells.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" | "));
}

/// Returns `yes` or `NO` for a goal.
pub(crate) const fn met(goal: bool) -> &'static str {
    if goal { "yes" } else { "NO" }
}

/// Formats bytes as MB (10⁶).
pub(crate) fn megabytes(bytes: f64) -> String {
    format!("{:.1}", bytes / 1e6)
}
