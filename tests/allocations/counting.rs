//! An allocator that counts what one thread asks it for, by the place in our source that led to it.
//!
//! The thread is known by its kernel id, which each thread looks up once: asking the standard library for a thread's
//! name may itself allocate. Only requests for memory count; giving it back is as often. Return addresses are cheap to
//! gather and name a stack; what they stand for is looked up once a stack.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

/// The thread that is watched; none has id 0.
static WATCHED: AtomicI32 = AtomicI32::new(0);
static STACKS: Mutex<Option<HashMap<Addresses, Stack>>> = Mutex::new(None);

thread_local! {
    static THREAD: Cell<i32> = const { Cell::new(0) };
    /// What counting itself allocates does not count.
    static ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// Deep enough to reach from an executor's depths to our code.
const FRAMES_MAX: usize = 64;
type Addresses = [usize; FRAMES_MAX];

#[derive(Debug)]
struct Stack {
    times: u64,
    /// The innermost of our own source files in it.
    file: Option<String>,
}

/// What a watched thread allocated, by our own source file nearest to it; [`ELSEWHERE`] where none is.
pub(crate) type Count = BTreeMap<String, u64>;

/// Stacks without a line of ours: the executor by itself.
pub(crate) const ELSEWHERE: &str = "elsewhere";

// SAFETY: every request goes to the system's allocator as it came.
#[allow(unsafe_code, reason = "an allocator cannot be written otherwise")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

/// Counts what the thread of this name allocates while `work` runs.
pub(crate) fn count_of(thread: &str, work: impl FnOnce()) -> Count {
    let threads = std::fs::read_dir("/proc/self/task").expect("the kernel lists threads");
    let named = threads
        .flatten()
        .find(|entry| std::fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim_end() == thread));
    let id: Option<i32> = named.and_then(|entry| entry.file_name().to_str()?.parse().ok());
    *STACKS.lock().unwrap() = Some(HashMap::new());
    WATCHED.store(id.expect("a thread of that name"), Ordering::SeqCst);
    work();
    WATCHED.store(0, Ordering::SeqCst);
    let mut count = Count::new();
    for stack in STACKS.lock().unwrap().take().into_iter().flat_map(HashMap::into_values) {
        *count.entry(stack.file.unwrap_or_else(|| ELSEWHERE.into())).or_default() += stack.times;
    }
    count
}

fn count() {
    let watched = WATCHED.load(Ordering::Relaxed);
    if watched != 0 && watched == this_thread() && !ASIDE.replace(true) {
        note();
        ASIDE.set(false);
    }
}

fn this_thread() -> i32 {
    if THREAD.get() == 0 {
        // SAFETY: the call takes nothing and cannot fail.
        #[allow(unsafe_code, reason = "the standard library does not tell the kernel's thread id")]
        THREAD.set(unsafe { libc::gettid() });
    }
    THREAD.get()
}

fn note() {
    let mut stacks = STACKS.lock().unwrap();
    let Some(stacks) = stacks.as_mut() else { return };
    let stack = stacks.entry(addresses()).or_insert_with(|| Stack { times: 0, file: own_file() });
    stack.times += 1;
}

fn addresses() -> Addresses {
    let mut addresses = [0; FRAMES_MAX];
    let length = i32::try_from(FRAMES_MAX).expect("a small number");
    // SAFETY: the array has room for as many addresses, and an address is as large as a pointer.
    #[allow(unsafe_code, reason = "the standard library keeps return addresses to itself")]
    unsafe {
        libc::backtrace(addresses.as_mut_ptr().cast(), length)
    };
    addresses
}

fn own_file() -> Option<String> {
    let trace = Backtrace::force_capture().to_string();
    if std::env::var_os("ALLOCATIONS_TRACE").is_some() {
        println!("{trace}\n");
    }
    let mut places = trace.lines().filter_map(|line| line.trim().strip_prefix("at "));
    let ours = |place: &str| {
        let path = place.strip_prefix(env!("CARGO_MANIFEST_DIR")).map_or(place, |rest| rest.trim_start_matches('/'));
        let path = path.trim_start_matches("./");
        let is_ours = path.starts_with("src/");
        is_ours.then(|| path.split(':').next().unwrap_or(path).to_owned())
    };
    places.find_map(ours)
}
