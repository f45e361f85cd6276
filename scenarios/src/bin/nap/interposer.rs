//! A safety net: entropy and wall time that a dependency asks the C library for.
//!
//! On the thread of a run, `getrandom` and `getentropy` answer from the run's seed and
//! `CLOCK_REALTIME` stands at the scenario's epoch; each such call is counted, and a report says
//! how many there were. On every other thread the calls reach the system unchanged. The goal for our own
//! code is a count of zero; code that needs this net cannot be replayed by another build.
//!
//! Only the binary `nap` links this file; libraries and `nap-controller` never do.

#![expect(
    unsafe_code,
    reason = "symbols of the C library are replaced; the only such file"
)]

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use scenarios::world::hooks::{self, Hooks};

thread_local! {
    /// State of the generator; `None` outside runs.
    static STATE: Cell<Option<u64>> = const { Cell::new(None) };
    /// Wall time of the run, seconds and nanoseconds.
    static EPOCH: Cell<(i64, i64)> = const { Cell::new((0, 0)) };
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// Registers the net with the library.
pub(crate) fn install() {
    hooks::install(Hooks { enter, leave });
}

#[expect(
    clippy::disallowed_types,
    reason = "the key that the standard library would draw later is drawn here, from the seed"
)]
fn enter(seed: u64, epoch: Timestamp) {
    STATE.set(Some(seed));
    EPOCH.set((epoch.as_second(), i64::from(epoch.subsec_nanosecond())));
    // The standard library draws one key per thread for all its hash maps. It is drawn here, from
    // the seed, so that the count below is about what runs.
    std::hint::black_box(std::hash::RandomState::new());
    CALLS.set(0);
}

fn leave() -> u64 {
    STATE.set(None);
    CALLS.get()
}

/// `SplitMix64`: every state is legal, and eight bytes of state are enough for a safety net.
fn next(state: u64) -> (u64, u64) {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (state, mixed ^ (mixed >> 31))
}

/// Fills a buffer when the calling thread is in a run.
fn fill(buffer: *mut c_void, length: usize) -> bool {
    // A thread that is being torn down has no state left; its calls go to the system.
    let Ok(Some(mut state)) = STATE.try_with(Cell::get) else {
        return false;
    };
    let bytes = buffer.cast::<u8>();
    for index in 0..length {
        let (advanced, word) = next(state);
        state = advanced;
        // SAFETY: the caller owns `length` bytes at `buffer`, and `index` is below `length`.
        unsafe { bytes.add(index).write(word.to_le_bytes()[0]) };
    }
    STATE.set(Some(state));
    CALLS.set(CALLS.get() + 1);
    true
}

/// `getrandom(2)`.
///
/// # Safety
///
/// As for the function of the C library: `buffer` points to `length` writable bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    if fill(buffer, length) {
        return isize::try_from(length).unwrap_or(isize::MAX);
    }
    // SAFETY: the arguments are the caller's, passed on unchanged.
    let result = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
    isize::try_from(result).unwrap_or(-1)
}

/// `getentropy(3)`.
///
/// # Safety
///
/// As for the function of the C library: `buffer` points to `length` writable bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getentropy(buffer: *mut c_void, length: usize) -> c_int {
    if fill(buffer, length) {
        return 0;
    }
    // SAFETY: the arguments are the caller's; at most 256 bytes are delivered whole.
    let result = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length.min(256), 0) };
    if result >= 0 { 0 } else { -1 }
}

type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int;

/// Address of the C library's own `clock_gettime`, 0 until looked up. A raw system call instead
/// would bypass the vDSO and double the cost of every timer.
static REAL_CLOCK: AtomicUsize = AtomicUsize::new(0);

fn real_clock() -> Option<ClockGettime> {
    let mut address = REAL_CLOCK.load(Ordering::Relaxed);
    if address == 0 {
        const NAME: &[u8] = b"clock_gettime\0";
        // SAFETY: the name ends in NUL; dlsym has no other requirement.
        address = unsafe { libc::dlsym(libc::RTLD_NEXT, NAME.as_ptr().cast::<c_char>()) } as usize;
        REAL_CLOCK.store(address, Ordering::Relaxed);
    }
    if address == 0 {
        return None;
    }
    // SAFETY: the address is that of the C library's function of this signature.
    Some(unsafe { std::mem::transmute::<usize, ClockGettime>(address) })
}

/// `clock_gettime(2)`.
///
/// # Safety
///
/// As for the function of the C library: `time` points to a writable `timespec`.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    let wall = clock == libc::CLOCK_REALTIME || clock == libc::CLOCK_REALTIME_COARSE;
    if wall && matches!(STATE.try_with(Cell::get), Ok(Some(_))) {
        let (seconds, nanos) = EPOCH.get();
        // SAFETY: the caller owns the `timespec`.
        unsafe {
            (*time).tv_sec = seconds;
            (*time).tv_nsec = nanos;
        }
        CALLS.set(CALLS.get() + 1);
        return 0;
    }
    match real_clock() {
        // SAFETY: the arguments are the caller's, passed on unchanged.
        Some(real) => unsafe { real(clock, time) },
        // SAFETY: as above.
        None => unsafe {
            c_int::try_from(libc::syscall(libc::SYS_clock_gettime, clock, time)).unwrap_or(-1)
        },
    }
}
