//! What the machine says of itself and no environment variable does: cores, and the host's name.

use std::fs;

/// Cores that the process may use, in rising order, as the kernel lists them (affinity and cpusets considered).
///
/// Ask once, at start: a process that pins its main thread narrows what this answers.
#[must_use]
pub fn cores_available() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    allowed.and_then(|list| parse_list(list.trim())).unwrap_or_else(|| {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (0..count).collect()
    })
}

/// The kernel's name of this host.
pub(super) fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// "0-3,8" as the kernel writes it.
fn parse_list(list: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for run in list.split(',') {
        let (from, to) = run.split_once('-').unwrap_or((run, run));
        cores.extend(from.parse::<usize>().ok()?..=to.parse::<usize>().ok()?);
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_lists() {
        for (list, cores) in
            [("0", Some(vec![0])), ("0-2,8,10-11", Some(vec![0, 1, 2, 8, 10, 11])), ("", None), ("0-", None)]
        {
            assert_eq!(parse_list(list), cores, "{list}");
        }
    }

    #[test]
    fn this_machine_has_cores() {
        assert!(!cores_available().is_empty());
    }
}
