//! Makes the kernel's ring, or says why this machine cannot.
//!
//! Linux 6.1 is the floor: `DEFER_TASKRUN` and multishot receive into a ring of buffers came together by then. A
//! kernel refuses an unknown set-up flag with `EINVAL` and a forbidden one with `EPERM` or `ENOSYS`; an operator
//! needs to be told which, and what to change. What came later is probed for, and can be masked to test life without.

use std::fs;
use std::io;

use io_uring::{IoUring, Probe, opcode};
use thiserror::Error;

use super::RingOptions;

/// Why a shard has no ring.
#[derive(Debug, Error)]
pub enum RingError {
    /// The kernel lacks something that the ring is built on.
    #[error("the kernel ({release}) is too old: {missing} is missing; Linux 6.1 or newer is needed")]
    TooOld {
        /// `uname -r`
        release: String,
        /// What is missing.
        missing: &'static str,
    },
    /// Switched off or filtered.
    #[error("io_uring is forbidden here ({source}): {hint}")]
    Forbidden {
        /// What to look at.
        hint: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Locked memory is used up.
    #[error(
        "not enough memory for a ring ({source}): raise RLIMIT_MEMLOCK (LimitMEMLOCK=, ulimit -l) or the memory limit"
    )]
    Memory {
        /// The kernel's answer.
        source: io::Error,
    },
    /// Descriptors are used up.
    #[error("no descriptor left for a ring ({source}): raise RLIMIT_NOFILE (LimitNOFILE=, ulimit -n)")]
    Descriptors {
        /// The kernel's answer.
        source: io::Error,
    },
    /// Anything else.
    #[error("io_uring: {step}: {source}")]
    Other {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

const HINT_EPERM: &str =
    "see the sysctl kernel.io_uring_disabled (0 allows it), and the seccomp profile of a container";
const HINT_ENOSYS: &str = "the kernel is built without it, or a sandbox or seccomp profile hides it";

impl RingError {
    /// What a failed `step` of setting up means; `missing` names what an `EINVAL` is about.
    fn of(source: io::Error, step: &'static str, missing: &'static str, release: &str) -> Self {
        match source.raw_os_error() {
            Some(libc::EINVAL) => Self::TooOld { release: release.to_owned(), missing },
            Some(libc::EPERM | libc::EACCES) => Self::Forbidden { hint: HINT_EPERM, source },
            Some(libc::ENOSYS) => Self::Forbidden { hint: HINT_ENOSYS, source },
            Some(libc::ENOMEM | libc::ENOBUFS) => Self::Memory { source },
            Some(libc::EMFILE | libc::ENFILE) => Self::Descriptors { source },
            _ => Self::Other { step, source },
        }
    }

    pub(super) fn other(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::of(source, step, step, &release())
    }
}

/// Features newer than the floor. As an option: those that may be used where the kernel has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Submission entries without an index array (Linux 6.6).
    pub no_index_array: bool,
}

impl Features {
    /// Everything that the kernel offers.
    pub const ALL: Self = Self { no_index_array: true };
    /// Linux 6.1 and nothing more.
    pub const FLOOR: Self = Self { no_index_array: false };
}

/// Sets the kernel's ring up on this thread, which is the only one that may use it.
pub(super) fn set_up(options: &RingOptions) -> Result<(IoUring, Features), RingError> {
    let mut features = options.mask;
    let attempt = |features: Features| {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_submit_all();
        builder.setup_cqsize(options.completions).setup_clamp();
        if features.no_index_array {
            builder.setup_no_sqarray();
        }
        builder.build(options.submissions)
    };
    let mut built = attempt(features);
    if features != Features::FLOOR && matches!(&built, Err(error) if error.raw_os_error() == Some(libc::EINVAL)) {
        features = Features::FLOOR;
        built = attempt(features);
    }
    let uring =
        built.map_err(|error| RingError::of(error, "io_uring_setup", "IORING_SETUP_DEFER_TASKRUN", &release()))?;
    check_operations(&uring)?;
    Ok((uring, features))
}

fn check_operations(uring: &IoUring) -> Result<(), RingError> {
    let mut probe = Probe::new();
    uring.submitter().register_probe(&mut probe).map_err(RingError::other("IORING_REGISTER_PROBE"))?;
    for (code, missing) in [
        (opcode::AcceptMulti::CODE, "IORING_OP_ACCEPT"),
        (opcode::Connect::CODE, "IORING_OP_CONNECT"),
        (opcode::RecvMulti::CODE, "IORING_OP_RECV"),
        (opcode::Send::CODE, "IORING_OP_SEND"),
        (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL"),
        (opcode::Close::CODE, "IORING_OP_CLOSE"),
    ] {
        if !probe.is_supported(code) {
            return Err(RingError::TooOld { release: release(), missing });
        }
    }
    if !(uring.params().is_feature_nodrop() && uring.params().is_feature_skip_cqe_on_success()) {
        return Err(RingError::TooOld { release: release(), missing: "IORING_FEAT_CQE_SKIP" });
    }
    Ok(())
}

fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_reads_what_to_change() {
        for (errno, text) in [
            (libc::EINVAL, "the kernel (5.15.0) is too old: IORING_SETUP_DEFER_TASKRUN is missing; Linux 6.1"),
            (libc::EPERM, "io_uring_disabled"),
            (libc::ENOSYS, "seccomp profile hides it"),
            (libc::ENOMEM, "raise RLIMIT_MEMLOCK"),
            (libc::EMFILE, "raise RLIMIT_NOFILE"),
            (libc::EIO, "io_uring: io_uring_setup: "),
        ] {
            let source = io::Error::from_raw_os_error(errno);
            let error = RingError::of(source, "io_uring_setup", "IORING_SETUP_DEFER_TASKRUN", "5.15.0");
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
